from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from pcr_rt.calibration import Calibration
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


# By hand: keypoints 0.5 -> 0.6; people 0.1 -> 0.3, 0.2 -> 0.6, 0.4 -> 0.7, 0.5 -> 0.75.
CALIBRATION = Calibration(
    keypoints=((0.0, 0.2), (1.0, 1.0)), people=((0.0, 0.0), (0.2, 0.6), (1.0, 1.0))
)


def far_apart(*box_scores: float) -> People:
    count = len(box_scores)
    keypoints = np.zeros((count, 17, 2), np.float32)
    keypoints += 1000 * np.arange(count)[:, None, None]
    boxes = np.array([[1000.0 * i, 0, 1000 * i + 10, 10] for i in range(count)])
    return People(keypoints, np.full((count, 17), 0.5, np.float32), boxes, np.array(box_scores))


@pytest.mark.parametrize("nms", [None, "hard", "soft"])
def test_a_calibration_makes_scores_probabilities(nms: Literal["hard", "soft"] | None) -> None:
    select = Selection(0.5, None, nms, 0.9, "mean", CALIBRATION)
    # Raw 0.1, 0.2 and 0.5, of which 0.1 is a probability of 0.3.
    poses = select(far_apart(0.2, 0.4, 1.0), (9000, 9000))
    np.testing.assert_allclose(poses.scores, [0.6, 0.75], atol=1e-6)
    np.testing.assert_allclose(poses.keypoint_scores, 0.6, atol=1e-6)
    assert poses.score_kind == "probability"
    assert Selection(0.5, None, nms, 0.9, "mean")(far_apart(1.0), (9, 9)).score_kind == "raw"


def test_soft_suppression_lowers_raw_scores_before_they_become_probabilities() -> None:
    people = far_apart(0.8, 0.4)
    people.keypoints[1] = people.keypoints[0]
    people.boxes[1] = people.boxes[0]
    poses = Selection(0.0, None, "soft", 0.9, "mean", CALIBRATION)(people, (9000, 9000))
    # Raw 0.4 and 0.2 e^(-1 / 0.9) = 0.06584 with an OKS of 1.
    np.testing.assert_allclose(poses.scores, [0.7, 0.06584 * 3], atol=1e-4)


def test_a_score_of_just_the_threshold_stays_as_a_probability() -> None:
    select = Selection(0.6, None, "soft", 0.9, "mean", CALIBRATION)
    assert len(select(far_apart(0.4, 0.4), (9000, 9000))) == 2


@pytest.mark.parametrize("calibration", [None, CALIBRATION])
def test_results_are_copies_of_the_right_type_that_nobody_can_change(
    calibration: Calibration | None,
) -> None:
    """A device's results lie in memory that its next run overwrites."""
    people = far_apart(1.0, 0.9)
    lowered = np.array([0.5, 0.45], np.float32)
    people = replace(people, suppressed=(np.array([0, 1], np.int32), lowered))
    poses = Selection(0.1, None, "hard", 0.9, "mean", calibration)(people, (9000, 9000))
    for name in ("keypoints", "keypoint_scores", "boxes", "scores"):
        array = getattr(poses, name)
        assert (array.dtype, array.flags.writeable, len(array)) == (np.float32, False, 2)
        for source in (people.keypoints, people.keypoint_scores, people.boxes, lowered):
            assert not np.shares_memory(array, source)


def test_the_surest_of_the_suppressed_stay_in_the_order_of_their_boxes() -> None:
    people = far_apart(0.4, 1.0, 0.8)
    # Best first, as OKS-NMS gives them.
    found = np.array([1, 2, 0], np.int32), np.array([0.5, 0.4, 0.2], np.float32)
    select = Selection(0.1, 2, "hard", 0.9, "mean")
    poses = select(replace(people, suppressed=found), (9000, 9000))
    np.testing.assert_allclose(poses.scores, [0.5, 0.4])
    np.testing.assert_allclose(poses.boxes[:, 0], [1000, 2000])
