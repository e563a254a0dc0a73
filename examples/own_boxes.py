"""Boxes of your own instead of the detector's:  python examples/own_boxes.py [video].

For one frame they are an argument; in a stream, a function that finds them is the detector.
"""

import sys

import numpy as np

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.annotate import SAMPLE_CLIP


def middle_third(frame):
    """Give boxes (N, 4) xyxy in pixels of the frame: here one, where somebody is expected."""
    height, width = frame.shape[:2]
    return [[width / 3, 0, 2 * width / 3, height]]


source = sys.argv[1] if len(sys.argv) > 1 else SAMPLE_CLIP
with PoseEstimator(detector=None) as estimator:
    frame = np.zeros((480, 640, 3), np.uint8)
    print(len(estimator(frame, boxes=middle_third(frame))), "people on a black frame")
with PoseEstimator(detector=middle_third) as estimator:
    for _, poses in PoseStream(source, estimator, track=False):
        print(f"frame {poses.frame_index}: {len(poses)} people")
