"""Count squats from the angle of the knees:  python examples/count_squats.py [camera or file].

A squat is counted when the knees, bent below 100 degrees, are straight again beyond 150.
"""

import sys

import numpy as np

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.skeleton import KEYPOINTS

BENT, STRAIGHT = 100, 150
LEGS = [
    [KEYPOINTS.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle")]
    for side in ("left", "right")
]


def knee_angle(keypoints, scores):
    """Average the angles in degrees of the knees seen; None without any. keypoints: (17, 2)."""
    angles = []
    for hip, knee, ankle in LEGS:
        if scores[[hip, knee, ankle]].min() > 0.3:
            thigh, shin = keypoints[hip] - keypoints[knee], keypoints[ankle] - keypoints[knee]
            cosine = thigh @ shin / (np.linalg.norm(thigh) * np.linalg.norm(shin) + 1e-9)
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.mean(angles) if angles else None


class SquatCounter:
    """Counts the squats of one person."""

    def __init__(self):
        self.count, self.down = 0, False

    def update(self, angle):
        """Take the next angle; None if the legs are hidden."""
        if angle is not None and angle < BENT:
            self.down = True
        elif angle is not None and angle > STRAIGHT and self.down:
            self.count, self.down = self.count + 1, False


def main(source):
    """Print a line for each squat."""
    counters = {}
    with PoseEstimator() as estimator:
        for _, poses in PoseStream(source, estimator):
            ids = range(len(poses)) if poses.ids is None else poses.ids.tolist()
            for row, person in enumerate(ids):
                counter = counters.setdefault(person, SquatCounter())
                before = counter.count
                counter.update(knee_angle(poses.keypoints[row], poses.keypoint_scores[row]))
                if counter.count > before:
                    print(f"{poses.timestamp:.1f} s: person {person}, squat {counter.count}")
    print(f"{sum(counter.count for counter in counters.values())} squats")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else 0)
