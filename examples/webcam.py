"""A camera, live in the browser, until Ctrl-C:  python examples/webcam.py [camera or file]."""

import sys

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.streaming.page import LivePage

source = sys.argv[1] if len(sys.argv) > 1 else 0
page = LivePage(port=0)
print(f"Open {page.url}")
with PoseEstimator() as estimator:
    for _, poses in PoseStream(source, estimator, sinks=[page]):
        print(f"\r{len(poses)} people, {poses.age_ms:.0f} ms old ", end="", flush=True)
print()
