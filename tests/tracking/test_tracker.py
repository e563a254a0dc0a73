"""Drawn people walk known paths: who is who is known, so every switch of ids can be counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.tracking.tracker import Tracker

# A standing figure, 1 high and centred on 0: x, y of COCO's 17 keypoints.
HALF = [(0.03, -0.44), (0.06, -0.43), (0.11, -0.32), (0.14, -0.16), (0.15, 0.0), (0.08, 0.04)]
HALF += [(0.08, 0.25), (0.08, 0.46)]
FIGURE = np.array([(0, -0.42)] + [(s * x, y) for x, y in HALF for s in (1, -1)])
BLANK = np.full((480, 640, 3), 100, np.uint8)


def drawn(
    places: Sequence[tuple[float, float] | None], scores: Sequence[float] | None = None
) -> tuple[Poses, list[int]]:
    """People 200 pixels high at the places, and which of the places each of them has."""
    there = [k for k, place in enumerate(places) if place is not None]
    keypoints = np.array([FIGURE * 200 + np.array(places[k]) for k in there]).reshape(-1, 17, 2)
    low, high = keypoints.min(1, initial=9e9), keypoints.max(1, initial=-9e9)
    poses = Poses(
        keypoints=keypoints,
        keypoint_scores=np.full((len(there), 17), 0.9),
        boxes=np.concatenate([low - 8, high + 8], 1).reshape(-1, 4),
        scores=np.array([0.8 if scores is None else scores[k] for k in there]),
    )
    return poses, there


def follow(
    paths: Sequence[Sequence[tuple[float, float] | None]], fps: float = 30.0, **options: Any
) -> dict[int, list[int]]:
    """Person -> the ids they were shown with, frame by frame."""
    tracker, shown = Tracker(**options), {k: [] for k in range(len(paths[0]))}
    for index, places in enumerate(paths):
        poses, truth = drawn(places)
        result = tracker.update(poses, timestamp=index / fps, detected=True)
        for row in range(len(result)):
            here = np.abs(poses.keypoints - result.keypoints[row]).sum((1, 2)).argmin()
            shown[truth[here]].append(int(result.ids[row]))
    return shown


def test_people_who_cross_keep_their_ids():
    paths = [[(100 + 5 * t, 240), (540 - 5 * t, 250)] for t in range(90)]
    assert follow(paths) == {0: [1] * 90, 1: [2] * 90}


def test_somebody_hidden_while_crossing_keeps_their_id():
    hidden = range(38, 50)  # 0.4 s, in which the two change sides
    paths = [[(100 + 5 * t, 240), None if t in hidden else (540 - 5 * t, 250)] for t in range(90)]
    assert follow(paths) == {0: [1] * 90, 1: [2] * 78}


def test_leaving_and_returning_within_two_seconds_keeps_the_id():
    out = [(40 - 4 * t, 240) for t in range(10)]
    back = out[::-1]
    paths = [[p] for p in [*out, *[None] * 30, *back]]
    assert follow(paths) == {0: [1] * 20}


def test_who_returns_too_late_is_somebody_new():
    paths = [[(100, 240)]] * 5 + [[None]] * 90 + [[(100, 240)]] * 5
    assert follow(paths) == {0: [1] * 5 + [2] * 4}  # the second must be found twice


def test_an_uneven_frame_rate_costs_no_id():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.1, 0.2], 80))
    tracker, ids = Tracker(), []
    for time in times:
        poses, _ = drawn([(60 + 40 * time, 240), (600 - 40 * time, 240)])
        ids.append(tracker.update(poses, timestamp=time, detected=True).ids.tolist())
    assert ids == [[1, 2]] * 80


def test_false_boxes_of_one_frame_are_never_shown_and_misses_cost_no_id():
    rng = np.random.default_rng(1)
    tracker, seen = Tracker(), []
    for t in range(120):
        false = (60 + 520 * (t % 2), 120 if t % 4 < 2 else 400) if t and t % 7 == 0 else None
        person = None if rng.random() < 0.1 and t else (320 + 2 * np.sin(t), 240)
        poses, _ = drawn([false, person])
        seen += tracker.update(poses, timestamp=t / 30, detected=True).ids.tolist()
    assert set(seen) == {1}
    assert len(seen) > 90


def test_unsure_people_continue_tracks_but_start_none():
    tracker = Tracker()
    sure, _ = drawn([(200, 240)])
    unsure, _ = drawn([(202, 240), (500, 240)], [0.1, 0.1])
    tracker.update(sure, timestamp=0, detected=True)
    for t in range(1, 5):
        assert tracker.update(unsure, timestamp=t / 30, detected=True).ids.tolist() == [1]


@pytest.mark.parametrize(
    ("kind", "least", "score", "starts"),
    [
        ("probability", None, 0.499, False),
        ("probability", None, 0.5, True),
        ("probability", 0.75, 0.749, False),
        ("probability", 0.75, 0.75, True),
        ("raw", None, 0.139, False),
        ("raw", None, 0.14, True),
    ],
)
def test_a_person_starts_a_track_from_a_score_on(
    kind: str, least: float | None, score: float, starts: bool
) -> None:
    poses = drawn([(200, 240)], [score])[0].replace(score_kind=kind)
    tracker = Tracker(start_score=least)
    assert len(tracker.update(poses, timestamp=0, detected=True)) == starts


@pytest.mark.parametrize(
    ("options", "same", "score", "ids"),
    [
        ({}, 1, 0.5, [1]),  # 0.9 of 0.9 + 16 x 0.5 is 0.101
        ({}, 1, 0.55, []),
        ({"min_oks": 0.5}, 9, 0.9, [1]),
        ({"min_oks": 0.5}, 8, 0.9, []),
    ],
)
def test_a_person_keeps_their_id_from_a_similarity_on(
    options: dict[str, Any], same: int, score: float, ids: list[int]
) -> None:
    """Of 17 keypoints some stay; the others, far away and of this score, add nothing.

    Who is new is shown from the second frame on.
    """
    tracker, (poses, _) = Tracker(**options), drawn([(200, 240)])
    tracker.update(poses, timestamp=0, detected=True)
    keypoints = poses.keypoints.copy()
    keypoints[0, same:] += 4000
    scores = np.where(np.arange(17) < same, 0.9, score)[None]
    moved = poses.replace(keypoints=keypoints, keypoint_scores=scores)
    assert tracker.update(moved, timestamp=0, detected=True).ids.tolist() == ids


@pytest.mark.parametrize("hits", [1, 2, 3])
def test_who_comes_later_is_shown_from_the_nth_frame_on(hits: int) -> None:
    paths = [[(100, 240), None]] * 3 + [[(100, 240), (400, 240)]] * 4
    assert follow(paths, min_hits=hits) == {0: [1] * 7, 1: [2] * (5 - hits)}


def test_who_comes_later_must_be_found_in_frames_running() -> None:
    paths = [[(100, 240), (400, 240) if t in (1, 3, 4) else None] for t in range(5)]
    assert follow(paths) == {0: [1] * 5, 1: [2]}


def test_a_second_box_on_somebody_starts_no_track() -> None:
    tracker, (poses, _) = Tracker(), drawn([(200, 240)])
    for time in (0.0, 0.1, 0.2):
        twice = poses[[0, 0] if time else [0]]
        assert tracker.update(twice, timestamp=time, detected=True).ids.tolist() == [1]


def test_order_is_kept_and_ids_are_never_given_twice():
    tracker = Tracker()
    poses, _ = drawn([(100, 240), (300, 240), (500, 240)])
    assert tracker.update(poses, timestamp=0, detected=True).ids.tolist() == [1, 2, 3]
    turned = poses[[2, 0, 1]]
    assert tracker.update(turned, timestamp=0.03, detected=True).ids.tolist() == [3, 1, 2]
    tracker.reset()
    assert tracker.update(poses, timestamp=0, detected=True).ids.tolist() == [4, 5, 6]


def test_empty_frames_and_nan():
    tracker = Tracker()
    assert tracker.update(Poses.empty(), timestamp=0, detected=True).ids.shape == (0,)
    poses, _ = drawn([(100, 240), (300, 240)])
    keypoints = poses.keypoints.copy()
    keypoints[0, 3] = np.nan
    broken = Poses(keypoints, poses.keypoint_scores, poses.boxes, poses.scores)
    result = tracker.update(broken, timestamp=0.1, detected=True)
    assert result.ids.tolist() == [1]
    assert np.isfinite(result.keypoints).all()
    for time in (0.1, 0.1, 0.05):  # a clock that stands still or steps back
        result = tracker.update(broken, timestamp=time, detected=True)
        assert result.ids.tolist() == [1]
    assert np.isfinite(tracker.regions(BLANK, 0.2) if tracker.detect_every > 1 else 0).all()


def test_equal_input_gives_equal_ids():
    rng = np.random.default_rng(3)
    paths = [[(x, 240) for x in rng.uniform(0, 640, 4)] for _ in range(40)]
    assert follow(paths) == follow(paths)


def run_regions(tracker: Tracker, frames: list[NDArray[np.uint8]]) -> list[bool]:
    """On which frames the detector was asked for; one person stands at (320, 240)."""
    asked = []
    for index, frame in enumerate(frames):
        boxes = tracker.regions(frame, index / 30)
        asked.append(boxes is None)
        poses, _ = drawn([(320, 240)])
        if boxes is not None:
            assert boxes.shape == (1, 4)
            inside = poses.keypoints[0] - boxes[0, :2], boxes[0, 2:] - poses.keypoints[0]
            assert min(part.min() for part in inside) > 0
        tracker.update(poses, timestamp=index / 30, detected=boxes is None)
    return asked


def test_the_detector_runs_on_every_nth_frame():
    assert run_regions(Tracker(5), [BLANK] * 16) == [t % 5 == 0 for t in range(16)]
    assert all(run_regions(Tracker(), [BLANK] * 4))


def test_motion_outside_the_regions_calls_the_detector():
    entered = BLANK.copy()
    entered[200:440, 0:60] = 220
    asked = run_regions(Tracker(30), [BLANK] * 14 + [entered] * 3)
    assert np.flatnonzero(asked).tolist() == [0, 14]
    moved_inside = BLANK.copy()
    moved_inside[200:280, 305:335] = 220
    brighter = BLANK + 40
    for frame in (moved_inside, brighter):
        asked = run_regions(Tracker(30), [BLANK] * 14 + [frame] * 3)
        assert np.flatnonzero(asked).tolist() == [0]


def test_a_scene_cut_ends_all_tracks():
    rng = np.random.default_rng(5)
    scenes = [np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((80, 80, 1))) for _ in range(2)]
    one, other = (scene.astype(np.uint8) for scene in scenes)
    tracker, ids = Tracker(30), []
    for index, frame in enumerate([one] * 4 + [other] * 4):
        boxes = tracker.regions(frame, index / 30)
        assert (boxes is None) == (index in (0, 4))
        poses, _ = drawn([(320, 240)])
        result = tracker.update(poses, timestamp=index / 30, detected=boxes is None)
        ids += result.ids.tolist()
    assert ids == [1] * 4 + [2] * 4


def test_regions_without_a_person_call_the_detector():
    person, _ = drawn([(320, 240)])
    doubtful, _ = drawn(
        [(320, 240)], [0.3]
    )  # joints that are hardly any: raw scores count from 0.35
    for poses in (Poses.empty(), doubtful):
        tracker = Tracker(30)
        assert tracker.regions(BLANK, 0) is None
        tracker.update(person, timestamp=0, detected=True)
        assert tracker.regions(BLANK, 1 / 30) is not None
        assert len(tracker.update(poses, timestamp=1 / 30, detected=False)) == 0
        assert tracker.regions(BLANK, 2 / 30) is None


def test_regions_start_no_tracks():
    tracker = Tracker(5)
    poses, _ = drawn([(320, 240)])
    assert len(tracker.update(poses, timestamp=0, detected=False)) == 0


@pytest.mark.parametrize("options", [{"detect_every": 0}, {"min_hits": 0}, {"max_lost_s": -1}])
def test_options_out_of_range(options):
    with pytest.raises(InputError):
        Tracker(**options)
    Tracker(min_hits=1, max_lost_s=0)  # the least


@pytest.mark.parametrize(("seconds", "ids"), [(0.5, [1]), (2.0, [1]), (2.1, [])])
def test_who_stays_in_view_keeps_their_id_however_short_the_memory(
    seconds: float, ids: list[int]
) -> None:
    """After a longer gap they are new, and new ones are shown from the second frame on."""
    tracker, (poses, _) = Tracker(max_lost_s=0), drawn([(300, 240)])
    assert tracker.update(poses, timestamp=0, detected=True).ids.tolist() == [1]
    assert tracker.update(poses, timestamp=seconds, detected=True).ids.tolist() == ids


def test_without_a_memory_who_was_missing_in_a_frame_is_somebody_new() -> None:
    assert follow([[(300, 240)]] * 3 + [[None]] + [[(300, 240)]] * 3, max_lost_s=0) == {
        0: [1, 1, 1, 2, 2]
    }


def test_boxes_end_at_the_edges_of_the_image() -> None:
    poses = drawn([(30, 80)])[0].replace(image_size=(50, 150))  # reaches from x = 0 to 60, y = -8
    boxes = Tracker().update(poses, timestamp=0, detected=True).boxes
    np.testing.assert_array_equal(boxes, [[0, 0, 49, 149]])
