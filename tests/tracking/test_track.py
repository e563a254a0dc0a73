"""Steps of one track; expected values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.poses import Poses
from pcr_rt.tracking.people import People
from pcr_rt.tracking.track import Track, displacements, search_regions

FRAME = np.zeros((200, 300, 3), np.uint8)


def person(
    x: float, width: float = 40, height: float = 100, neighbour: float = 0, score: float = 0.9
) -> People:
    """One person whose torso's middle is (x, 100), or with a neighbour, in boxes of their own."""
    shifts = [0.0, neighbour] if neighbour else [0.0]
    keypoints = np.array([np.tile((x + shift, 100), (17, 1)) for shift in shifts])
    boxes = np.array([(-width / 2, -height / 2, width / 2, height / 2)] * len(shifts))
    boxes += keypoints[:, 0, [0, 1, 0, 1]]
    scores = np.full((len(shifts), 17), score)
    # All keypoints in one place make no box of their own.
    return People.of(Poses(keypoints, scores, boxes, np.ones(len(shifts))), None, len(shifts))


def growth(elapsed: float, constant: float) -> float:
    return float(1 - np.exp(-elapsed / constant))


def test_a_track_begins_where_the_person_is() -> None:
    track = Track.begin(person(100), 0, 5.0)
    np.testing.assert_allclose(track.box, [80, 50, 120, 150])
    np.testing.assert_allclose(track.extent, [20, 50, 20, 50])
    np.testing.assert_allclose(track.velocity, [0, 0])
    assert (track.seen, track.id, track.hits, track.missed) == (5.0, 0, 1, False)


def test_two_tracks_are_two_however_alike() -> None:
    one, other = (Track.begin(person(100), 0, 5.0) for _ in range(2))
    assert len({one, other, one}) == 2


@pytest.mark.parametrize(("neighbour", "constant"), [(0, 0.15), (10, 0.6)])
def test_velocity_is_a_mean_over_time_slower_in_contact(neighbour: float, constant: float) -> None:
    track = Track.begin(person(100), 0, 5.0)
    track.missed = True
    track.follow(person(110, neighbour=neighbour), 0, 5.1)  # 100 pixels a second
    share = growth(0.1, constant)
    np.testing.assert_allclose(track.velocity, [100 * share, 0])
    assert (track.seen, track.hits, track.missed) == (5.1, 2, False)
    track.follow(person(105, neighbour=neighbour), 0, 5.2)  # 50 pixels a second back
    np.testing.assert_allclose(track.velocity, [100 * share * (1 - share) - 50 * share, 0])


def test_a_box_that_may_hold_somebody_else_keeps_to_where_the_person_was_going() -> None:
    track = Track.begin(person(100), 0, 5.0)
    track.velocity = np.array([200.0, 0])
    track.follow(person(110, width=60), 0, 5.15, mixed=True)
    expected = 100 + 200 * growth(0.15, 1.0)  # a person who is not seen slows down
    centre = expected + growth(0.15, 0.15) * (110 - expected)
    half = 20 + growth(0.15, 4 * 0.2) * (30 - 20)  # grows four times slower, may cut a limb
    np.testing.assert_allclose(track.box, [centre - half, 50, centre + half, 150])
    np.testing.assert_allclose(track.keypoints[:, 0], 110)
    track.follow(person(120, width=60), 0, 5.25)
    np.testing.assert_allclose((track.box[0] + track.box[2]) / 2, 120)


def test_a_clock_that_stands_still_changes_no_velocity() -> None:
    track = Track.begin(person(100), 0, 0.0)
    track.follow(person(110), 0, 0.0)
    np.testing.assert_allclose(track.velocity, [0, 0])
    np.testing.assert_allclose(track.keypoints[0], [110, 100])


def test_the_step_is_weighted_with_the_lower_score() -> None:
    track = Track.begin(person(100), 0, 0.0)
    seen = person(100)
    seen.keypoints[0, 0, 0] += 17
    seen.keypoint_scores[0, 1:] = 0.1
    track.follow(seen, 0, 0.1)  # 17 pixels of weight 0.9, 16 keypoints of weight 0.1 stand still
    step = 17 * 0.9 / (0.9 + 1.6) / 0.1
    np.testing.assert_allclose(track.velocity, [step * growth(0.1, 0.15), 0])


@pytest.mark.parametrize(
    ("width", "half"),
    [
        (44, 20 + 2 * growth(0.1, 0.2)),  # grows
        (41, 20 + 0.5 * growth(0.1, 0.2)),
        (80, 0.85 * 40),  # at least so far, at once
        (20, 20 - 10 * growth(0.1, 0.5)),  # shrinks
    ],
)
def test_a_box_grows_and_shrinks_by_hand(width: float, half: float) -> None:
    track = Track.begin(person(100), 0, 0.0)
    track.follow(person(102, width=width), 0, 0.1)
    np.testing.assert_allclose(track.box, [102 - half, 50, 102 + half, 150])


def test_who_is_not_seen_slows_down() -> None:
    tracks = [Track.begin(person(x), 0, 1.0) for x in (100, 200)]
    tracks[0].velocity = np.array([100.0, -10.0])
    moved = displacements(tracks, 1.5)
    np.testing.assert_allclose(moved, [np.array([100, -10]) * growth(0.5, 1.0), [0, 0]])


def boxes(tracks: list[Track], now: float = 0.0) -> NDArray[np.float64]:
    return search_regions(tracks, now, FRAME)


def test_regions_are_around_the_predicted_places_inside_the_frame() -> None:
    assert boxes([]).shape == (0, 4)
    tracks = [Track.begin(person(x), 0, 0.0) for x in (100, 10, 290)]
    tracks[0].velocity = np.array([100.0, 0.0])
    by = 100 * growth(0.5, 1.0)
    np.testing.assert_allclose(
        boxes(tracks, 0.5), [[80 + by, 50, 120 + by, 150], [0, 50, 30, 150], [270, 50, 299, 150]]
    )


def test_regions_end_at_the_last_pixel() -> None:
    tall = Track.begin(person(290, height=250), 0, 0.0)
    np.testing.assert_allclose(boxes([tall]), [[270, 0, 299, 199]])


@pytest.mark.parametrize(("x", "seen"), [(-17, 1), (-18, 1), (-18.1, 0), (317, 1), (317.1, 0)])
def test_a_region_needs_two_pixels_in_the_frame(x: float, seen: int) -> None:
    assert len(boxes([Track.begin(person(x), 0, 0.0)])) == seen
