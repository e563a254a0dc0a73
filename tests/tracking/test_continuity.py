"""One source's people from frame to frame: ids and steady keypoints, or neither."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.poses import Poses
from pcr_rt.skeleton import Skeleton
from pcr_rt.tracking.continuity import Continuity

FRAME = np.full((480, 640, 3), 90, np.uint8)


def two_people() -> Poses:
    """People of a random shape around (200, 240) and (450, 240)."""
    shape = np.random.default_rng(0).uniform((-40, -100), (40, 100), (17, 2))
    keypoints = np.array([(200, 240), (450, 240)])[:, None] + shape
    boxes = np.concatenate([keypoints.min(1), keypoints.max(1)], 1)
    return Poses(keypoints, np.full((2, 17), 0.9), boxes, np.full(2, 0.8))


def test_a_clip_of_one_frame_shows_its_people() -> None:
    people, poses = Continuity(track=True, smooth=True, detect_every="0.5s"), two_people()
    assert people.regions(FRAME, 0.0) is None
    assert len(people.missing(poses, FRAME, 0.0)) == 0
    assert people.update(poses, None, FRAME, 0.0, detected=True).ids.tolist() == [1, 2]


def test_without_tracking_nothing_changes() -> None:
    people, poses = Continuity(track=False, smooth=True, detect_every=1), two_people()
    assert people.regions(FRAME, 0.0) is None
    assert people.missing(poses, FRAME, 0.0).shape == (0, 4)
    assert people.update(poses, None, FRAME, 0.0, detected=True) is poses


def test_people_found_again_come_after_those_of_the_detector() -> None:
    people, poses = Continuity(track=True, smooth=True, detect_every=1), two_people()
    people.update(poses, None, FRAME, 0.0, detected=True)
    shown = people.update(poses[:1], poses[1:], FRAME, 0.1, detected=True)
    assert shown.ids.tolist() == [1, 2]


@pytest.mark.parametrize(("colour", "expected"), [((20, 20, 200), 1), ((200, 40, 20), 2)])
def test_who_comes_back_is_known_by_their_clothes(
    colour: tuple[int, int, int], expected: int
) -> None:
    people, poses = Continuity(track=True, smooth=True, detect_every=1), two_people()[:1]
    for time, clothes in [(0.0, (20, 20, 200)), (0.1, (20, 20, 200)), (1.1, colour), (1.2, colour)]:
        frame = FRAME.copy()
        frame[100:380, 120:280] = clothes
        shown = people.update(poses, None, frame, time, detected=True)
    assert shown.ids.tolist() == [expected]


@pytest.mark.parametrize(("smooth", "low", "high"), [(True, 0.0, 1.0), (False, 3.9, 4.1)])
def test_who_stands_trembles_less_if_smoothed(smooth: bool, low: float, high: float) -> None:
    """Every keypoint is 2 pixels to the left and 2 to the right in turn."""
    people, places = Continuity(track=True, smooth=smooth, detect_every=1), []
    for number in range(30):
        poses = two_people()
        poses = poses.replace(keypoints=poses.keypoints + np.array([2 * (-1) ** number, 0]))
        shown = people.update(poses, None, FRAME, number / 30, detected=True)
        places.append(shown.keypoints[..., 0])
    steps = np.abs(np.diff(places[10:], axis=0))
    assert low <= steps.min()
    assert steps.max() <= high


def test_bad_input_with_appearance_on() -> None:
    people = Continuity(track=True, smooth=True, detect_every="0.5s")
    sizes = [(480, 640), (240, 320), (1, 1), (480, 640), (700, 2)]
    for number, time in enumerate([0.0, 0.0, 0.1, 0.05, 5.0]):
        keypoints = two_people().keypoints.copy()
        keypoints[1, 3] = np.nan
        poses = two_people().replace(keypoints=keypoints)
        frame: NDArray[np.uint8] = np.full((*sizes[number], 3), 90, np.uint8)
        assert people.regions(frame, time) is None
        assert np.isfinite(people.missing(poses, frame, time)).all()
        result = people.update(poses, poses[1:], frame, time, detected=True)
        assert len(result) == 1
        assert np.isfinite(result.keypoints).all()


@pytest.mark.parametrize("name", ["hand21", "halpe26", "coco_wholebody133", "ap10k17"])
def test_people_of_any_skeleton_keep_their_ids(name: str) -> None:
    skeleton = Skeleton.load(name)
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 100, (len(skeleton), 2))
    people = Continuity(track=True, smooth=True, detect_every=1)
    frame = np.full((300, 600, 3), 90, np.uint8)
    for number in range(12):
        places = np.array([[20.0 + 3 * number, 50.0], [400.0 - 3 * number, 150.0]])
        keypoints = shape + places[:, None]
        poses = Poses(
            keypoints=keypoints.astype(np.float32),
            keypoint_scores=np.full((2, len(skeleton)), 0.9, np.float32),
            boxes=np.concatenate([places, places + 100], axis=1).astype(np.float32),
            scores=np.full(2, 0.9, np.float32),
            image_size=(600, 300),
            skeleton=skeleton,
        )
        shown = people.update(poses, None, frame, number / 15, detected=True)
    assert shown.skeleton == skeleton
    assert shown.ids is not None
    assert shown.ids.tolist() == [1, 2]
