"""Milliseconds that drawing a person takes on 1080p, box and label included.

python benchmarks/drawing.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from pcr_rt.poses import Poses

# A person from the front, 220 pixels high: (x, y) of the 17 joints.
STANDING = np.array(
    [
        *[(160, 40), (168, 32), (152, 32), (178, 36), (142, 36)],
        *[(195, 75), (125, 75), (215, 115), (105, 115), (225, 155), (95, 155)],
        *[(180, 150), (140, 150), (184, 190), (136, 190), (188, 230), (132, 230)],
    ],
    dtype=float,
)
PEOPLE = 8
RUNS = 60


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    random = np.random.default_rng(0)
    frame = random.integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    for scale in (0.5, 1.5, 4.0):
        room = np.array([1600, max(20.0, 1080 - 240 * scale)])
        keypoints = STANDING * scale + (random.random((PEOPLE, 2)) * room)[:, None]
        poses = Poses(
            keypoints=keypoints,
            keypoint_scores=np.full((PEOPLE, 17), 0.9),
            boxes=np.concatenate([keypoints.min(1) - 10, keypoints.max(1) + 10], axis=1),
            scores=np.full(PEOPLE, 0.8),
            ids=np.arange(PEOPLE),
        )
        times = []
        for _ in range(RUNS):
            start = time.thread_time()
            poses.draw(frame, inplace=True)
            times.append((time.thread_time() - start) * 1e3 / PEOPLE)
        low, middle, high = np.percentile(times, [25, 50, 75])
        print(f"{220 * scale:.0f} px high: {middle:.2f} ms a person ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
