"""Who is who, of people of whom only the shoulders are seen, so that all can be done by hand.

Places are in deviations of a shoulder, so that somebody who is d away has an OKS of exp(-d^2 / 2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import log, nan, sqrt

import numpy as np
import pytest

from pcr_rt.poses import Poses
from pcr_rt.skeleton import SIGMAS
from pcr_rt.tracking.appearance import SPREAD
from pcr_rt.tracking.association import assign, cross_oks, doubles, match
from pcr_rt.tracking.people import People
from pcr_rt.tracking.track import Track

DEVIATION = 2 * 0.079 * 100  # pixels: twice a shoulder's sigma, of a box of 100 x 100 pixels


def people(
    places: Sequence[float], looks: Sequence[float] = (), scores: Sequence[float] = ()
) -> People:
    """People at the places, who look so many deviations away from one look; unknown if left out."""
    count = len(places)
    keypoints = np.zeros((count, 17, 2))
    keypoints[..., 0] = DEVIATION * np.array(places)[:, None]
    shoulders = np.zeros((count, 17))
    shoulders[:, 5:7] = 0.9
    boxes = np.concatenate([keypoints[:, 0] - 50, keypoints[:, 0] + 50], 1)
    poses = Poses(keypoints, shoulders, boxes, np.array(scores or [0.9] * count))
    found = People.of(poses, None, count)
    many = np.array(looks or [nan] * count)
    return dataclasses.replace(found, looks=many[:, None, None] * SPREAD)


def known(number: int, place: float, looks: float = nan, seen: float = 0.0) -> Track:
    track = Track.begin(people([place], [looks]), 0, seen)
    track.id = number
    return track


def ids(tracks: list[Track], found: People, now: float = 0.0, min_oks: float = 0.1) -> list[int]:
    """The id of each person found; -1 for those who have no track."""
    matched = match(tracks, found, now, start_score=0.5, min_oks=min_oks)
    return [matched[row].id if row in matched else -1 for row in range(len(found.poses))]


def away(oks: float) -> float:
    """How far away somebody is who has this OKS."""
    return sqrt(-2 * log(oks))


def test_oks_by_hand() -> None:
    known = np.zeros((1, 17, 2))
    found = np.zeros((2, 17, 2))
    found[1, 0] = (5.2, 0)  # nose: 2 sigma = 0.052, scale 100 px: 5.2 px is one deviation
    weights = np.zeros((1, 17))
    weights[0, :2] = 1
    scores = np.ones((2, 17))
    scores[1, 0] = 0.5
    areas = np.full((1, 2), 1e4)
    oks = cross_oks(known, weights, found, scores, areas, np.ones(1), SIGMAS)
    np.testing.assert_allclose(oks, [[1, (0.5 * np.exp(-0.5) + 1) / 1.5]])
    wider = cross_oks(known, weights, found, scores, areas, np.full(1, 2.0), SIGMAS)
    np.testing.assert_allclose(wider, [[1, (0.5 * np.exp(-0.5 / 4) + 1) / 1.5]])


def test_assignment_takes_each_once() -> None:
    assert assign(np.array([[0.9, 0.8], [0.7, 0.05]]), 0.1) == [(0, 0)]
    assert assign(np.array([[0.5, 0.5], [0.5, 0.5]]), 0.1) == [(0, 0), (1, 1)]
    assert assign(np.array([[0.1]]), 0.1) == [(0, 0)]
    assert assign(np.zeros((0, 3)), 0.1) == []
    board = np.where(np.indices((6, 6)).sum(0) % 2, 0.4, 0.5)
    assert assign(board, 0.1) == [(n, n) for n in range(6)]


@pytest.mark.parametrize(("same", "double"), [(10, False), (11, True)])
def test_who_shows_the_person_of_another_is_a_double(same: int, double: bool) -> None:
    """Of 17 keypoints some are the other's, the rest is far away; 0.6 of 17 are 10.2."""
    keypoints = np.zeros((2, 17, 2))
    keypoints[1, same:] = 9000
    poses = Poses(keypoints, np.ones((2, 17)), np.tile((0, 0, 100, 100), (2, 1)), np.ones(2))
    assert doubles(poses, [0, 1]) == [1] * double
    assert doubles(poses, [0], known=[1]) == [0] * double
    assert doubles(poses, [1]) == []


@pytest.mark.parametrize(("place", "double"), [(1.0, True), (1.02, False)])
def test_the_larger_of_two_sizes_tells_doubles(place: float, double: bool) -> None:
    """exp(-1 / 2) is 0.607; by the smaller one's size they are twice as many deviations apart."""
    poses = people([0.0, place]).poses
    boxes = poses.boxes.copy()
    boxes[1] = [0, 0, 50, 50]
    poses = poses.replace(boxes=boxes)
    assert doubles(poses, [0, 1]) == [1] * double
    assert doubles(poses, [1, 0]) == [0] * double


@pytest.mark.parametrize(("place", "expected"), [(1.05, 1), (1.1, -1)])
@pytest.mark.parametrize("sizes", [(100, 50), (50, 100)])
def test_the_smaller_of_two_sizes_tells_who_is_who(
    sizes: tuple[int, int], place: float, expected: int
) -> None:
    """With half the side they are twice as many deviations away: exp(-2.1^2 / 2) is 0.11."""
    track, found = known(1, 0.0), people([place])
    track.box = np.array([0.0, 0, sizes[0], sizes[0]])
    found = dataclasses.replace(found, boxes=np.array([[0.0, 0, sizes[1], sizes[1]]]))
    assert ids([track], found) == [expected]


@pytest.mark.parametrize(
    ("gone", "place", "expected"),
    [
        (0.0, 2.0, 1),  # exp(-2) is over 0.1
        (0.0, 3.0, -1),
        (0.15, 4.0, 1),  # half as many deviations, since sigmas are doubled
        (0.15, 4.5, -1),
        (1.0, 8.0, 1),  # a quarter, at most
        (1.0, 11.0, -1),
    ],
)
def test_who_is_not_seen_may_be_farther_away(gone: float, place: float, expected: int) -> None:
    assert ids([known(1, 0.0)], people([place]), now=gone) == [expected]


def test_the_least_similarity_is_enough() -> None:
    assert ids([known(1, 0.0)], people([0.0]), min_oks=1.0) == [1]


def test_who_moves_is_expected_further_on() -> None:
    """In 0.15 s, slowing down, 50 deviations a second make 50 (1 - exp(-0.15)) = 7."""
    track = known(1, 0.0)
    track.velocity = np.array([50 * DEVIATION, 0])
    assert ids([track], people([7.0]), now=0.15) == [1]
    assert ids([track], people([0.0]), now=0.15) == [-1]


@pytest.mark.parametrize(
    ("gone", "score", "expected"), [(0.5, 0.9, -1), (0.6, 0.9, 1), (0.6, 0.4, -1)]
)
def test_who_is_lost_may_be_where_they_were_last_seen(
    gone: float, score: float, expected: int
) -> None:
    """They should be over 100 deviations further on, a neighbour is in view."""
    track, neighbour = known(1, 0.0), known(2, 40.0, seen=gone)
    track.velocity = np.array([300 * DEVIATION, 0])
    assert ids([track, neighbour], people([0.0], scores=[score]), now=gone) == [expected]


def test_nobody_is_known_or_nobody_is_found() -> None:
    assert ids([], people([0.0])) == [-1]
    assert ids([known(1, 0.0)], people([])) == []


@pytest.mark.parametrize(("from_detector", "expected"), [(2, [1, 2]), (1, [1, -1]), (0, [-1, 2])])
def test_of_two_who_show_one_person_a_region_goes(from_detector: int, expected: list[int]) -> None:
    """The second is nearer to a track; rows after those of the detector are found in regions."""
    found = dataclasses.replace(people([0.9, 1.0]), from_detector=from_detector)
    assert ids([known(1, 0.0), known(2, 1.0)], found) == expected


def test_who_was_just_near_by_wins_over_who_may_be_anywhere() -> None:
    near, wide = known(1, 1.0, seen=0.4), known(2, 0.0, seen=0.0)
    assert ids([wide, near], people([0.0]), now=0.4) == [1]


def test_the_surer_of_two_people_continues_a_track() -> None:
    assert ids([known(1, 0.0)], people([-1.0, 1.0], scores=[0.6, 0.9])) == [-1, 1]


@pytest.mark.parametrize(
    ("gone", "score", "expected"),
    [(0.5, 0.49, 1), (0.6, 0.49, -1), (0.5, 0.5, 1), (0.6, 0.5, 1)],
)
def test_who_is_unsure_continues_only_what_was_seen_half_a_second_ago(
    gone: float, score: float, expected: int
) -> None:
    assert ids([known(1, 0.0)], people([0.0], scores=[score]), now=gone) == [expected]


@pytest.mark.parametrize("others", [[], [known(2, 90.0, seen=-1.0)]])
def test_who_is_not_shown_yet_comes_last(others: list[Track]) -> None:
    assert ids([known(0, 0.0), known(1, 1.5), *others], people([0.0])) == [1]
    assert ids([known(0, 0.0), known(1, 3.0), *others], people([0.0])) == [0]
    assert ids([known(0, 0.0), known(1, 1.5), *others], people([0.0, 40.0])) == [1, -1]


@pytest.mark.parametrize(
    ("unlike", "oks", "expected"),
    [
        (1.0, 0.84, 1),  # exp(-1/8) = 0.88
        (1.0, 0.92, 2),
        (2.0, 0.57, 1),  # exp(-1/2) = 0.61
        (2.0, 0.65, 2),
        (nan, 0.57, 1),  # unknown looks count as much
        (nan, 0.65, 2),
        (5.0, 0.16, 1),  # no less than 0.2
        (5.0, 0.24, 2),
    ],
)
def test_looks_speak_for_a_neighbour(unlike: float, oks: float, expected: int) -> None:
    """Who is at the place looks ``unlike``; a neighbour with this OKS looks the same."""
    tracks = [known(1, 0.0, unlike), known(2, away(oks), 0.0)]
    assert ids(tracks, people([0.0], [0.0])) == [expected]


@pytest.mark.parametrize(
    ("unlike", "oks", "expected"),
    [(2.9, 0.45, 1), (3.1, 0.45, -1), (3.1, 0.55, 1), (9.0, 0.55, 1), (nan, 0.15, 1)],
)
def test_a_stranger_is_known_only_where_somebody_is_expected(
    unlike: float, oks: float, expected: int
) -> None:
    assert ids([known(1, 0.0, 0.0)], people([away(oks)], [unlike])) == [expected]


@pytest.mark.parametrize(("gone", "unlike", "expected"), [(0.5, 2.1, 1), (0.6, 2.1, -1)])
def test_who_was_away_must_look_alike(gone: float, unlike: float, expected: int) -> None:
    tracks = [known(1, 0.0, 0.0)]
    assert ids(tracks, people([0.0], [unlike]), now=gone) == [expected]
    assert ids(tracks, people([0.0], [1.9]), now=gone) == [1]
    assert ids(tracks, people([0.0], [nan]), now=gone) == [1]


@pytest.mark.parametrize(
    ("x", "y", "gone", "expected"),
    [
        (0, 0, 0.6, 1),
        (-0.5, 0, 0.6, -1),
        (0, -0.5, 0.6, -1),
        (100, 200, 0.6, 1),
        (100.5, 200, 0.6, -1),
        (100, 200.5, 0.6, -1),
        (100.5, 200, 0.5, 1),
    ],
)
def test_who_is_lost_outside_the_image_is_known_only_where_they_left(
    x: float, y: float, gone: float, expected: int
) -> None:
    """The image is 101 pixels wide and 201 high; three deviations are too far, two are not."""

    def seen_at(place: float) -> People:
        found = people([place])
        poses = found.poses.replace(image_size=(101, 201))
        shift = np.array([x, y, x, y])
        keypoints, boxes = found.keypoints + shift[:2], found.boxes + shift
        return dataclasses.replace(found, poses=poses, keypoints=keypoints, boxes=boxes)

    track = Track.begin(seen_at(0.0), 0, 0.0)
    track.id = 1
    tracks = [track, known(2, 500.0, seen=gone)]  # who is outside, too
    assert ids(tracks, seen_at(3.0), now=gone) == [expected]
    assert ids(tracks, seen_at(2.0), now=gone) == [1]
    panned = match(
        tracks, seen_at(3.0), gone, start_score=0.5, min_oks=0.1, camera_moves=True
    )  # the image's border means nothing
    assert panned[0].id == 1
