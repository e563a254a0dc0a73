"""What is said of the people of a frame, on both sides of every threshold; values by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from pcr_rt.poses import Poses, ScoreKind
from pcr_rt.skeleton import KEYPOINTS, Skeleton
from pcr_rt.tracking.people import LIMITS, People, areas, finite, joined


def poses(*boxes: tuple[float, float, float, float], score: float = 0.9, **fields: Any) -> Poses:
    """People in boxes of their own, with all their keypoints in the middle of these."""
    corners = np.array(boxes)
    keypoints = ((corners[:, :2] + corners[:, 2:]) / 2)[:, None].repeat(17, 1)
    scores = np.full((len(boxes), 17), 0.9)
    return Poses(keypoints, scores, corners, np.full(len(boxes), score), **fields)


BOX = (100.0, 50.0, 140.0, 150.0)


@pytest.mark.parametrize(
    ("kind", "score", "shown"),
    [
        ("probability", 0.949, False),
        ("probability", 0.95, True),
        ("raw", 0.349, False),
        ("raw", 0.35, True),
    ],
)
def test_a_region_shows_somebody_from_a_score_on_and_a_detectors_box_always(
    kind: ScoreKind, score: float, shown: bool
) -> None:
    two = poses(BOX, BOX, score=score, score_kind=kind)
    assert People.of(two, None, 1).present.tolist() == [True, shown]


@pytest.mark.parametrize(
    ("kind", "score", "counts"),
    [
        ("probability", 0.749, False),
        ("probability", 0.75, True),
        ("raw", 0.299, False),
        ("raw", 0.3, True),
    ],
)
def test_keypoints_make_up_box_and_looks_from_a_score_on(
    kind: ScoreKind, score: float, counts: bool
) -> None:
    one = poses(BOX, score_kind=kind)
    keypoints = one.keypoints.copy()
    keypoints[0, 0] = (120, 20)  # the nose, 30 pixels over the box of the detector
    scores = np.full((1, 17), score, np.float32)
    people = People.of(
        one.replace(keypoints=keypoints, keypoint_scores=scores),
        np.full((240, 320, 3), 90, np.uint8),
        1,
    )
    assert (people.boxes[0, 1] < 20) == counts
    assert np.isfinite(people.looks).all() == counts


@pytest.mark.parametrize(("apart", "touch"), [(8.9, True), (9.0, False), (9.1, False)])
def test_people_touch_if_their_boxes_overlap_by_more_than_a_tenth(
    apart: float, touch: bool
) -> None:
    """Boxes 11 pixels wide, 9 apart: 2 of 20 pixels are both's."""
    three = poses((0, 0, 11, 20), (apart, 0, apart + 11, 20), (500, 0, 511, 20))
    people = People.of(three, None, 3)
    expected = np.zeros((3, 3), bool)
    expected[[0, 1], [1, 0]] = touch
    np.testing.assert_array_equal(people.touching, expected)
    assert people.contact.tolist() == [touch, touch, False]


def test_a_centre_is_the_middle_of_the_torso() -> None:
    keypoints = np.zeros((1, 17, 2))
    for name, place in [("left_shoulder", (9, 1)), ("right_shoulder", (1, 3))]:
        keypoints[0, KEYPOINTS.index(name)] = place
    keypoints[0, KEYPOINTS.index("left_hip")] = (6, 20)
    one = poses(BOX).replace(keypoints=keypoints)
    np.testing.assert_allclose(People.of(one, None, 1).centres, [[4, 6, 4, 6]])


def test_a_centre_is_the_mean_of_all_keypoints_of_a_skeleton_without_a_torso() -> None:
    hand = Skeleton.load("hand21")
    keypoints = np.zeros((1, 21, 2))
    keypoints[0, 3] = (21, 42)
    one = Poses(keypoints, np.ones((1, 21)), np.array([BOX]), np.ones(1), skeleton=hand)
    np.testing.assert_allclose(People.of(one, None, 1).centres, [[1, 2, 1, 2]])


def test_areas_count_a_side_as_one_pixel_at_least() -> None:
    boxes = np.array([(10, 20, 13, 24), (5, 5, 5.5, 25), (7, 7, 7, 7), (0, 0, 1.5, 2)])
    assert areas(boxes).tolist() == [12, 20, 1, 3]
    large = np.array([(0, 0, 4097, 4097)], np.float32)  # its area is no float32
    assert areas(large).tolist() == [16785409]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["keypoints", "keypoint_scores", "boxes", "scores"])
def test_people_with_a_number_that_is_not_finite_are_left_out(name: str, value: float) -> None:
    three = poses((0, 0, 9, 9), BOX, (200, 0, 209, 9))
    array = getattr(three, name).copy()
    array.reshape(3, -1)[1, -1] = value
    left = finite(three.replace(**{name: array}))
    np.testing.assert_array_equal(left.boxes[:, 0], [0, 200])
    assert finite(three) is three


def test_two_poses_of_a_frame_are_put_together_in_order() -> None:
    one, two = poses(BOX, score=0.8, image_size=(320, 240)), poses((0, 0, 9, 9), BOX, score=0.7)
    both = joined(one, two)
    np.testing.assert_array_equal(both.boxes, [BOX, (0, 0, 9, 9), BOX])
    np.testing.assert_allclose(both.scores, [0.8, 0.7, 0.7])
    assert both.keypoints.shape == (3, 17, 2)
    assert both.keypoint_scores.shape == (3, 17)
    assert both.image_size == (320, 240)


@pytest.mark.parametrize(
    ("frozen", "name"), [(LIMITS["raw"], "start"), (People.of(poses(BOX), None, 1), "boxes")]
)
def test_limits_and_people_do_not_change(frozen: Any, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(frozen, name, 0)
