"""Who is who when place alone cannot tell: drawn people in coloured clothes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.poses import Poses
from pcr_rt.tracking.appearance import difference
from pcr_rt.tracking.people import People
from pcr_rt.tracking.tracker import Tracker

HALF = [(0.03, -0.44), (0.06, -0.43), (0.11, -0.32), (0.14, -0.16), (0.15, 0.0), (0.08, 0.04)]
HALF += [(0.08, 0.25), (0.08, 0.46)]
FIGURE = np.array([(0, -0.42)] + [(s * x, y) for x, y in HALF for s in (1, -1)])
RED, BLUE = (20, 20, 200), (200, 40, 20)
SIZE = (480, 640)
Person = tuple[float, tuple[int, int, int]]
"""x of the middle, and the colour (BGR) of the clothes."""


def scene(people: list[Person], score: float = 0.8) -> tuple[NDArray[np.uint8], Poses]:
    """A frame, the first ones in front, and its people, 200 pixels high."""
    frame = np.full((*SIZE, 3), 110, np.uint8)
    for x, colour in reversed(people):
        frame[170:345, max(0, int(x) - 32) : max(0, int(x) + 32)] = colour
    keypoints = np.array([FIGURE * 200 + (x, 240) for x, _ in people]).reshape(-1, 17, 2)
    low, high = keypoints.min(1, initial=9e9), keypoints.max(1, initial=-9e9)
    return frame, Poses(
        keypoints=keypoints,
        keypoint_scores=np.full((len(people), 17), 0.9),
        boxes=np.concatenate([low, high], 1).reshape(-1, 4),
        scores=np.full(len(people), score),
        image_size=(640, 480),
    )


def run(frames: list[list[Person]], fps: float = 10.0, **options: float) -> list[list[int]]:
    tracker, ids = Tracker(**options), []
    for number, people in enumerate(frames):
        frame, poses = scene(people)
        result = tracker.update(poses, timestamp=number / fps, detected=True, frame=frame)
        ids.append(result.ids.tolist())
    return ids


def test_who_returns_in_the_same_clothes_has_the_old_id_and_others_a_new_one() -> None:
    """Who is missing in 19 frames, a tenth of a second apart, is back after two seconds."""
    stay: list[list[Person]] = [[(300, RED)]] * 9
    for gone, colour, expected in ((9, RED, 1), (9, BLUE, 2), (19, RED, 1), (20, RED, 2)):
        ids = run([*stay, *[[]] * gone, *[[(300, colour)]] * 3])
        assert ids[:9] == [[1]] * 9
        assert ids[-1] == [expected], (gone, colour)
    assert run([*stay, *[[]] * 9, *[[(300, RED)]] * 3], max_lost_s=0.5)[-1] == [2]


@pytest.mark.parametrize(
    ("seen", "gone", "expected"),
    [(1, 3, 1), (1, 5, 2), (2, 5, 1), (2, 7, 2), (4, 9, 1), (4, 11, 2)],
)
def test_who_was_seen_for_a_moment_is_not_remembered_for_long(
    seen: int, gone: int, expected: int
) -> None:
    """Seen in the second second for 0, 0.1 and 0.3 s: for 0.5 s and twice as long as that."""
    stay: list[list[Person]] = [[(300, RED)]]
    assert run([*[[]] * 10, *stay * seen, *[[]] * gone, *stay * 3])[-1] == [expected]


def test_who_returns_elsewhere_is_somebody_new() -> None:
    assert run([*[[(100, RED)]] * 6, *[[]] * 9, *[[(560, RED)]] * 3])[-1] == [2]


@pytest.mark.parametrize(("x", "expected"), [(618, 1), (560, 2)])
def test_who_comes_in_near_where_another_went_out_is_somebody_new(x: float, expected: int) -> None:
    """60 pixels away are near enough for who was lost inside the image, see below."""
    away: list[list[Person]] = [[(500 + 40 * n, RED)] for n in range(4)]
    assert run([*away, *[[]] * 9, *[[(x, RED)]] * 3])[-1] == [expected]
    inside = [[(x - 300, RED) for x, _ in people] for people in away]
    assert run([*inside, *[[]] * 9, *[[(x - 300, RED)]] * 3])[-1] == [1]


@pytest.mark.parametrize(("pan", "expected"), [(0, 2), (10, 1)])
def test_who_comes_back_when_the_camera_turns_is_no_newcomer(pan: int, expected: int) -> None:
    """As above, but the ground behind them moves."""
    ground = 110 + 20 * np.sin(np.arange(900) * 2 * np.pi / 160)  # changes by 5 levels in 10 pixels
    tracker, places = Tracker("0.1s"), [500, 540, 580, 620, *[None] * 9, 560, 560, 560]
    for number, x in enumerate(places):
        frame, poses = scene([] if x is None else [(x, RED)])
        behind = ground[pan * number :][:640, None]
        frame = np.where(frame == 110, behind, frame).astype(np.uint8)
        assert tracker.regions(frame, number / 10) is None
        result = tracker.update(poses, timestamp=number / 10, detected=True, frame=frame)
    assert result.ids.tolist() == [expected]


def test_clothes_are_not_learnt_where_somebody_is_hidden() -> None:
    """The second of two who touch is gone for a second, and the first one looks grey."""
    tracker = Tracker()
    two: list[list[Person]] = [[(300, RED), (360, BLUE)]] * 6
    mixed: list[list[Person]] = [[(300, (60, 60, 60))]] * 10
    for number, people in enumerate([*two, *mixed]):
        frame, poses = scene(people)
        ids = tracker.update(poses, timestamp=number / 10, detected=True, frame=frame).ids
    assert ids.tolist() == [1]
    looks = People.of(scene([(300, RED)])[1], scene([(300, RED)])[0], 1).looks
    (known,) = [track.appearance for track in tracker._tracks if track.id == 1]
    assert difference(known[None], looks)[0, 0] < 0.5  # the light of the frame differs a little


@pytest.mark.parametrize(("colour", "expected"), [(RED, 1), (BLUE, 2)])
@pytest.mark.parametrize("twice", [True, False])
def test_clothes_are_learnt_from_later_looks(
    colour: tuple[int, int, int], expected: int, twice: bool
) -> None:
    """At first nobody is sure where the body is; that a person is found twice hides nothing."""
    tracker, (frame, poses) = Tracker(), scene([(300, RED)])
    for number in range(6):
        found = poses if number else poses.replace(keypoint_scores=np.full((1, 17), 0.2))
        again = found if twice else None
        tracker.update(found, timestamp=number / 10, detected=True, frame=frame, again=again)
    frame, poses = scene([(300, colour)])
    for time in (1.5, 1.6):
        result = tracker.update(poses, timestamp=time, detected=True, frame=frame)
    assert result.ids.tolist() == [expected]


def test_who_exchanged_ids_in_contact_get_them_back() -> None:
    """Two change places from one frame to the next: by place alone each has the other's id."""
    ids = run([[(300, RED), (360, BLUE)]] * 4 + [[(300, BLUE), (360, RED)]] * 4)
    assert ids[3] == [1, 2]
    assert ids[-1] == [2, 1]


@pytest.mark.parametrize(
    ("frames", "middle"), [(1, 315), (2, 300 + 15 * (1 - np.exp(-0.1 / 0.15)))]
)
def test_a_box_moves_slowly_where_somebody_who_was_shown_is_hidden(
    frames: int, middle: float
) -> None:
    """The second and a third, far away, are found in so many frames, and shown from two on."""
    tracker = Tracker()
    people: list[Person] = [(300, RED), (340, BLUE), (550, BLUE)]
    for number, count in enumerate([1] + [3] * frames):
        frame, poses = scene(people[:count])
        tracker.update(poses, timestamp=number / 10, detected=True, frame=frame)
    frame, poses = scene([(315, RED)])
    result = tracker.update(poses, timestamp=(frames + 1) / 10, detected=True, frame=frame)
    assert result.ids.tolist() == [1]
    np.testing.assert_allclose(result.boxes[0, [0, 2]].mean(), middle, atol=0.01)


def test_the_same_poses_in_another_frame_are_looked_at_again() -> None:
    tracker = Tracker()
    red, poses = scene([(300, RED)])
    blue, _ = scene([(300, BLUE)])
    for time in (0.0, 0.1, 0.2):
        tracker.missing(poses, red, time)
        assert tracker.update(poses, timestamp=time, detected=True, frame=red).ids.tolist() == [1]
    for time in (1.5, 1.6):  # away for so long that the clothes decide
        result = tracker.update(poses, timestamp=time, detected=True, frame=blue)
    assert result.ids.tolist() == [2]


def test_after_contact_clothes_tell_who_went_where() -> None:
    """Two people meet, one behind the other, and each turns back; by place alone they pass."""
    way = [100 + 20 * n for n in range(10)]
    meet: list[list[Person]] = [[(x, RED), (600 - x, BLUE)] for x in way]
    hidden: list[list[Person]] = [[(300, RED)]] * 3
    back: list[list[Person]] = [[(260 - x, RED), (340 + x, BLUE)] for x in range(0, 160, 20)]
    ids = run([*meet, *hidden, *back])
    assert ids[0] == [1, 2]
    assert ids[-5:] == [[1, 2]] * 5


def test_a_region_without_a_person_dies_within_half_a_second() -> None:
    tracker = Tracker("9s")
    frame, poses = scene([(300, RED)])
    tracker.regions(frame, 0.0)
    tracker.update(poses, timestamp=0.0, detected=True, frame=frame)
    searched = []
    for number in range(1, 12):
        regions = tracker.regions(frame, number / 10)
        if regions is None:  # somebody was lost: the detector looks, and finds nobody
            regions = tracker.missing(Poses.empty(), frame, number / 10)
            empty = Poses.empty()
            tracker.update(empty, timestamp=number / 10, detected=True, frame=frame)
        else:
            _, nobody = scene([(300, RED)] * len(regions), score=0.3)
            result = tracker.update(nobody, timestamp=number / 10, detected=False, frame=frame)
            assert len(result) == 0
        searched.append(len(regions))
    assert searched == [1] * 5 + [0] * 6


def test_a_known_person_whom_the_detector_misses_stays() -> None:
    tracker = Tracker("0.1s")
    frame, poses = scene([(300, RED), (500, BLUE)])
    for number in range(20):
        assert tracker.regions(frame, number / 10) is None
        found = poses if number == 0 else poses[:1]
        missing = tracker.missing(found, frame, number / 10)
        again = None
        if number:
            assert missing.shape == (1, 4)
            inside = (poses.keypoints[1] > missing[0, :2]) & (poses.keypoints[1] < missing[0, 2:])
            assert inside.all()
            again = poses[1:]
        result = tracker.update(
            found, timestamp=number / 10, detected=True, frame=frame, again=again
        )
        assert result.ids.tolist() == [1, 2]


def test_who_is_missing_is_looked_for_where_they_should_be() -> None:
    """At 100 pixels a second they go 100 (1 - exp(-0.5)) = 39.35 pixels in 0.5 s."""
    tracker = Tracker()
    for number in range(40):
        frame, poses = scene([(100 + 10 * number, RED)])
        shown = tracker.update(poses, timestamp=number / 10, detected=True, frame=frame)
    for time, moved in ((4.4, 39.347), (3.9, 0), (3.0, 0)):  # a clock that runs back stands still
        (box,) = tracker.missing(Poses.empty(), frame, time)
        np.testing.assert_allclose(box - shown.boxes[0], [moved, 0, moved, 0], atol=0.01)


def test_who_was_not_shown_yet_is_not_looked_for() -> None:
    tracker = Tracker()
    for time, people in ((0.0, [(300, RED)]), (0.1, [(300, RED), (500, BLUE)])):
        frame, poses = scene(people)
        tracker.update(poses, timestamp=time, detected=True, frame=frame)
    assert len(tracker.missing(poses[:1], frame, 0.2)) == 0


def test_who_is_found_again_where_somebody_is_already_is_nobody_else() -> None:
    tracker = Tracker()
    frame, poses = scene([(300, RED), (500, BLUE)])
    tracker.update(poses, timestamp=0.0, detected=True, frame=frame)
    result = tracker.update(
        poses[:1], timestamp=0.1, detected=True, frame=frame, again=poses[[0, 0]]
    )
    assert result.ids.tolist() == [1]


def test_two_regions_that_show_one_person_are_one_person() -> None:
    tracker = Tracker()
    frame, poses = scene([(300, RED), (340, BLUE)])
    tracker.update(poses, timestamp=0.0, detected=True, frame=frame)
    _, one = scene([(301, RED), (303, RED)])
    result = tracker.update(one, timestamp=0.1, detected=False, frame=frame)
    assert result.ids.tolist() == [1]


def test_boxes_are_around_the_person_inside_the_frame_and_steady() -> None:
    tracker = Tracker()
    widths = []
    for number in range(10):
        frame, poses = scene([(300 + 3 * number, RED), (630, BLUE)])
        keypoints = poses.keypoints.copy()
        swing = 30 * (number % 2)  # an arm
        keypoints[0, 9, 0] += swing
        poses = poses.replace(keypoints=keypoints, boxes=poses.boxes * 0.5)
        result = tracker.update(poses, timestamp=number / 30, detected=True, frame=frame)
        inside = np.clip(keypoints, 0, (639, 479))
        assert (inside >= result.boxes[:, None, :2]).all()
        assert (inside <= result.boxes[:, None, 2:]).all()
        assert result.boxes.min() >= 0
        assert (result.boxes[:, 2:] <= (639, 479)).all()
        widths.append(result.boxes[0, 2] - result.boxes[0, 0])
    changes = np.abs(np.diff(widths[2:]))
    assert changes.max() < 0.1 * 30  # a thirtieth of a second of half a second, not the whole arm


@pytest.mark.parametrize("count", [0, 500])
def test_many_people_and_none(count: int) -> None:
    tracker = Tracker()
    frame, _ = scene([])
    rng = np.random.default_rng(0)
    places = rng.uniform((20, 20), (620, 460), (count, 2))
    keypoints = (FIGURE * 12 + places[:, None]).reshape(count, 17, 2)
    low, high = keypoints.min(1, initial=9e9), keypoints.max(1, initial=-9e9)
    poses = Poses(
        keypoints, np.full((count, 17), 0.9), np.concatenate([low, high], 1), np.full(count, 0.8)
    )
    for time in (0.0, 0.1, 0.2):
        ids = tracker.update(poses, timestamp=time, detected=True, frame=frame).ids
        assert len(set(ids.tolist())) == len(ids)
    assert len(ids) >= 0.8 * count  # some lie on each other and count as one
