"""Who exchanged ids in contact and gets them back; looks in whole deviations, sums by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pcr_rt.poses import Poses
from pcr_rt.tracking.appearance import SPREAD
from pcr_rt.tracking.meetings import Meetings
from pcr_rt.tracking.people import People
from pcr_rt.tracking.track import Track

NAN = float("nan")


def people(looks: list[float], touching: bool = False) -> People:
    """People side by side who look so many deviations away from one look."""
    count = len(looks)
    keypoints = np.zeros((count, 17, 2)) + np.arange(17)[:, None]
    keypoints += 100 * np.arange(count)[:, None, None]
    scores, boxes = np.full((count, 17), 0.9), np.tile((0.0, 0, 50, 100), (count, 1))
    found = People.of(Poses(keypoints, scores, boxes, np.ones(count)), None, count)
    return dataclasses.replace(
        found,
        looks=np.array([many * SPREAD for many in looks]).reshape(-1, *SPREAD.shape),
        touching=np.full((count, count), touching) & ~np.eye(count, dtype=bool),
    )


class Pair:
    """Two people, of looks 0 and ``apart``, whose meetings are followed."""

    def __init__(self, apart: float = 1.5) -> None:
        first = people([0, apart])
        self.tracks = [Track.begin(first, row, 0.0) for row in (0, 1)]
        for number, track in enumerate(self.tracks, 1):
            track.id = number
        self.meetings = Meetings()

    def look(self, looks: list[float], now: float, touching: bool = False) -> list[int]:
        """See the first people, in so many rows, and tell both ids."""
        seen = people(looks, touching)
        matched = dict(enumerate(self.tracks[: len(looks)]))
        self.meetings.update(matched, self.tracks, seen, now)
        return [track.id for track in self.tracks]


def test_ids_go_back_when_the_sum_of_looks_is_over_four_deviations() -> None:
    pair = Pair()
    assert pair.look([0, 1.5], 0.0, touching=True) == [1, 2]
    assert pair.look([1.5, 0], 0.1) == [1, 2]  # each fits the other better by 1.5
    assert pair.look([1.5, 0], 0.2) == [1, 2]  # 3.0
    assert pair.look([1.5, 0], 0.3) == [2, 1]  # 4.5
    np.testing.assert_array_equal(pair.tracks[0].appearance, 1.5 * SPREAD)
    np.testing.assert_array_equal(pair.tracks[1].appearance, 0 * SPREAD)
    assert pair.look([1.5, 0], 0.4) == [2, 1]  # and that fits


def test_four_deviations_are_not_over_four() -> None:
    pair = Pair(2.0)
    pair.look([0, 2], 0.0, touching=True)
    assert pair.look([2, 0], 0.1) == [1, 2]
    assert pair.look([2, 0], 0.2) == [1, 2]  # 4.0
    assert pair.look([2, 0], 0.3) == [2, 1]


def test_sums_begin_at_zero() -> None:
    pair = Pair(1.75)
    assert pair.look([1.75, 0], 0.0, touching=True) == [1, 2]
    assert pair.look([1.75, 0], 0.1) == [1, 2]  # 3.5
    assert pair.look([1.75, 0], 0.2) == [2, 1]  # 5.25, and then from 0 again
    assert pair.look([0, 1.75], 0.3) == [2, 1]
    assert pair.look([0, 1.75], 0.4) == [2, 1]  # 3.5
    assert pair.look([0, 1.75], 0.5) == [1, 2]


def test_looks_against_count_but_not_below_zero() -> None:
    pair = Pair()
    pair.look([0, 1.5], 0.0, touching=True)
    pair.look([1.5, 0], 0.1)  # 1.5
    pair.look([0, 1.5], 0.2)  # 0
    pair.look([0, 1.5], 0.3)  # 0, not -1.5
    pair.look([1.5, 0], 0.4)
    assert pair.look([1.5, 0], 0.5) == [1, 2]  # 3.0
    assert pair.look([1.5, 0], 0.6) == [2, 1]  # 4.5


def test_the_mean_of_both_counts_and_unknown_looks_do_not() -> None:
    pair = Pair(3.0)
    pair.look([0, 3], 0.0, touching=True)
    pair.look([3, 3], 0.1)  # 3 for, 3 against: 0
    pair.look([NAN, 0], 0.2)  # unknown
    pair.look([3, NAN], 0.3)
    pair.look([3, 0], 0.4)  # 3
    assert pair.look([NAN, 0], 0.45) == [1, 2]  # still 3
    assert pair.look([1.5, 1.5], 0.5) == [1, 2]  # 0 more: 3
    assert pair.look([2.1, 0.9], 0.6) == [2, 1]  # 2.1 - 0.9 = 1.2 each: 4.2


@pytest.mark.parametrize(("late", "expected"), [(1.0, [2, 1]), (1.01, [1, 2])])
def test_contact_is_remembered_for_a_second(late: float, expected: list[int]) -> None:
    pair = Pair(6.0)
    pair.look([0, 6], 0.0)
    assert pair.look([6, 0], 0.1) == [1, 2]  # they never met
    pair.look([0, 6], 2.0, touching=True)
    assert pair.look([6, 0], 2.0 + late) == expected


def test_contact_that_goes_on_is_the_same_meeting() -> None:
    pair = Pair()
    for now in (0.0, 0.8, 1.6):
        assert pair.look([1.5, 0], now, touching=True)[0] == (2 if now == 1.6 else 1)


@pytest.mark.parametrize(("looks", "expected"), [(5.9, [2, 1]), (4.1, [2, 1]), (3.9, [1, 2])])
def test_who_is_seen_may_be_the_one_who_is_lost(looks: float, expected: list[int]) -> None:
    pair = Pair(6.0)
    pair.look([0, 6], 0.0, touching=True)
    # 5.9 - 0.1 = 5.8 for an exchange; 4.1 - 1.9 = 2.2, twice; 3.9 is 2.1 from the other's looks.
    for now in (0.1, 0.2, 0.3):
        ids = pair.look([looks], now)
    assert ids == expected


def test_two_deviations_from_the_looks_of_who_is_lost_are_few_enough() -> None:
    pair = Pair(2.0)
    pair.look([0, 2], 0.0, touching=True)
    assert pair.look([4], 0.1) == [1, 2]  # 4 from their own looks, 2 from the other's
    assert pair.look([4], 0.2) == [1, 2]  # 4.0
    assert pair.look([4], 0.3) == [2, 1]


def test_two_who_are_seen_may_fit_badly_if_the_exchange_fits_better() -> None:
    pair = Pair(6.0)
    pair.look([0, 6], 0.0, touching=True)
    assert pair.look([9, -3], 0.1) == [2, 1]  # 9 from their own looks, 3 from the other's


@pytest.mark.parametrize(
    ("place", "velocity", "expected"),
    [(0, 0, [2, 1]), (0, 100, [2, 1]), (-39.35, 100, [2, 1]), (-39.35, 0, [1, 2])],
)
def test_who_is_seen_where_somebody_was_lost_or_should_be_is_compared(
    place: float, velocity: float, expected: list[int]
) -> None:
    """At 100 pixels a second they are 100 (1 - exp(-0.5)) = 39.35 pixels further in 0.5 s."""
    pair = Pair(6.0)
    pair.tracks[1].box = pair.tracks[0].box + np.array([place, 0, place, 0])
    pair.tracks[1].velocity = np.array([velocity, 0.0])
    assert pair.look([6], 0.5) == expected


@pytest.mark.parametrize(("apart", "expected"), [(8.9, [2, 1]), (9.0, [1, 2])])
def test_boxes_meet_if_they_overlap_by_more_than_a_tenth(apart: float, expected: list[int]) -> None:
    """Boxes 11 pixels wide, 9 apart: 2 of 20 pixels are both's."""
    pair = Pair(6.0)
    pair.tracks[1].box = np.array([apart, 0, apart + 11, 20])
    seen = dataclasses.replace(people([6]), boxes=np.array([[0.0, 0, 11, 20]]))
    pair.meetings.update({0: pair.tracks[0]}, pair.tracks, seen, 0.5)
    assert [track.id for track in pair.tracks] == expected


def test_people_who_are_forgotten_or_not_shown_yet_exchange_nothing() -> None:
    pair = Pair(6.0)
    pair.look([0, 6], 0.0, touching=True)
    pair.meetings.update({0: pair.tracks[0]}, pair.tracks[:1], people([6]), 0.1)
    assert [track.id for track in pair.tracks] == [1, 2]
    unseen = Pair(6.0)
    unseen.tracks[1].id = 0
    unseen.look([0, 6], 0.0, touching=True)
    assert unseen.look([6, 0], 0.1) == [1, 0]
    unseen.tracks[1].box = unseen.tracks[0].box
    assert unseen.look([6], 0.2) == [1, 0]


def test_of_three_who_changed_places_two_a_frame_exchange_their_ids() -> None:
    """The first looks as the second did, the second as the third, the third as the first."""
    three = Pair(6.0)
    three.tracks.append(Track.begin(people([12.0]), 0, 0.0))
    three.tracks[2].id = 3
    assert three.look([0, 6, 12], 0.0, touching=True) == [1, 2, 3]
    # First and second: 6 for, 6 against. First and third: 0 and 12 for. So far for the second and
    # third, 6 and 6; but the third is the first from now on.
    assert three.look([6, 12, 0], 0.1) == [3, 2, 1]
    assert three.look([6, 12, 0], 0.2) == [2, 3, 1]
    assert three.look([6, 12, 0], 0.3) == [2, 3, 1]


def test_nobody_at_all() -> None:
    pair = Pair()
    pair.look([0, 1.5], 0.0, touching=True)
    assert pair.look([], 0.1) == [1, 2]
