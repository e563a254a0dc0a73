from __future__ import annotations

import numpy as np

from pcr_rt.tracking.person_box import person_boxes

OTHERWISE = np.array([[1.0, 2.0, 50.0, 60.0]])


def person(points: int) -> tuple[np.ndarray, np.ndarray]:
    """``points`` sure keypoints from (100, 200) to (200, 400), others far away and unsure."""
    keypoints = np.full((1, 17, 2), -1000.0)
    scores = np.full((1, 17), 0.1)
    keypoints[0, :points] = np.linspace((100, 200), (200, 400), points)
    scores[0, :points] = 0.5
    return keypoints, scores


def test_by_hand() -> None:
    # 100 wide, 200 high: 12 at the sides (6 % of the height is no more), 20 above, 18 below.
    for points in (5, 9):
        box = person_boxes(*person(points), OTHERWISE, 0.5)
        np.testing.assert_allclose(box, [[88, 180, 212, 418]])


def test_people_from_the_side_have_a_depth() -> None:
    keypoints, scores = person(9)
    keypoints[..., 0] = 100  # no width: 6 % of 200 at each side
    np.testing.assert_allclose(
        person_boxes(keypoints, scores, OTHERWISE, 0.5), [[88, 180, 112, 418]]
    )


def test_each_of_several_people_has_a_box_of_their_own_shape() -> None:
    people = [person(9), person(4), person(9)]
    keypoints, scores = (np.concatenate(parts) for parts in zip(*people, strict=True))
    keypoints[2] = keypoints[2, :, ::-1]  # lies: 200 wide, 100 high; 24 at the sides, 10 and 9
    boxes = person_boxes(keypoints, scores, OTHERWISE.repeat(3, 0), 0.5)
    np.testing.assert_allclose(boxes, [[88, 180, 212, 418], OTHERWISE[0], [176, 90, 424, 209]])


def test_few_sure_keypoints_or_all_in_one_place_leave_the_other_box() -> None:
    np.testing.assert_array_equal(person_boxes(*person(4), OTHERWISE, 0.5), OTHERWISE)
    np.testing.assert_array_equal(person_boxes(*person(9), OTHERWISE, 0.51), OTHERWISE)
    keypoints, scores = person(9)
    # The other box's longer side is 58: a span of 5.8 is enough, less is not.
    keypoints[0, :9] = np.linspace((10, 10), (10, 15.7), 9)
    np.testing.assert_array_equal(person_boxes(keypoints, scores, OTHERWISE, 0.5), OTHERWISE)
    keypoints[0, :9] = np.linspace((10, 10), (10, 15.9), 9)
    assert (person_boxes(keypoints, scores, OTHERWISE, 0.5) != OTHERWISE).all()
    assert person_boxes(keypoints[:0], scores[:0], OTHERWISE[:0], 0.5).shape == (0, 4)


def test_the_longer_side_of_the_other_box_may_be_its_width() -> None:
    keypoints, scores = person(9)
    wide = np.array([[1.0, 302.0, 201.0, 322.0]])  # a span of 20 is enough
    keypoints[0, :9] = np.linspace((10, 10), (29.9, 10), 9)
    np.testing.assert_array_equal(person_boxes(keypoints, scores, wide, 0.5), wide)
    keypoints[0, :9] = np.linspace((10, 10), (30, 10), 9)
    assert (person_boxes(keypoints, scores, wide, 0.5) != wide).all()
