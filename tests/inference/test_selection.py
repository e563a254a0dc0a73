from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from pcr_rt.inference.selection import People, Selection


@pytest.mark.parametrize("nms", [None, "hard", "soft"])
def test_a_score_of_just_the_threshold_stays(nms: Literal["hard", "soft"] | None) -> None:
    """0.7 in float32 is less than 0.7."""
    keypoints = np.zeros((2, 17, 2), np.float32)
    keypoints[1] += 1000
    boxes = np.array([[0.0, 0, 10, 10], [1000, 1000, 1010, 1010]])
    people = People(keypoints, np.ones((2, 17), np.float32), boxes, np.array([0.7, 0.9]))
    poses = Selection(0.7, None, nms, 0.9, "mean")(people, (2000, 2000))
    np.testing.assert_allclose(poses.scores, [0.7, 0.9])
