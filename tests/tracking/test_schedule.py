from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.tracking.schedule import Schedule, parse_interval

BLANK = np.full((90, 120, 3), 100, np.uint8)
NOBODY = np.zeros((0, 4))


def due(schedule: Schedule, times: list[float], frames: Any = None) -> list[int]:
    """The numbers of the frames on which the detector was due."""
    found = []
    for number, time in enumerate(times):
        schedule.cut(BLANK if frames is None else frames[number])
        if schedule.due(time, NOBODY):
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("given", "expected"),
    [(1, (1, 0.0)), (7, (7, 0.0)), ("7", (7, 0.0)), ("0.5s", (0, 0.5)), ("2s", (0, 2.0))],
)
def test_frames_or_time(given: Any, expected: tuple[int, float]) -> None:
    assert parse_interval(given) == expected


@pytest.mark.parametrize("given", [0, -1, True, 1.5, None, "", "s", "0s", "-1s", "nans", "infs"])
def test_what_is_neither_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="detect_every"):
        Schedule(given)


def test_half_a_second_of_the_sources_time_whatever_its_rate() -> None:
    assert due(Schedule("0.5s"), [n / 10 for n in range(12)]) == [0, 5, 10]
    assert due(Schedule("0.5s"), [n / 60 for n in range(62)]) == [0, 30, 60]
    assert due(Schedule("0.5s"), [n / 2 for n in range(4)]) == [0, 1, 2, 3]


@pytest.mark.parametrize(("early", "expected"), [(0.0, [0, 1]), (1e-3, [0, 1]), (1.2e-3, [0])])
def test_a_frame_that_is_due_within_a_millisecond_is_due(early: float, expected: list[int]) -> None:
    assert due(Schedule("0.5s"), [0.0, 0.5 - early]) == expected


def test_a_clock_that_stands_still_or_runs_back() -> None:
    assert due(Schedule("0.5s"), [1.0] * 8) == [0]
    assert due(Schedule("0.5s"), [9.0, 9.1, 2.0, 2.1, 2.4, 2.5]) == [0, 2, 5]
    assert due(Schedule("0.5s"), [9.0, 8.9, 9.0]) == [0, 1]
    assert due(Schedule(3), [1.0, 0.5, 1.0, 1.0, 1.0, 0.0, 1.0]) == [0, 3, 6]


def test_whoever_is_lost_calls_the_detector_once() -> None:
    schedule = Schedule("0.5s")
    assert due(schedule, [0.0, 0.1]) == [0]
    schedule.hurry()
    assert due(schedule, [0.2, 0.3, 0.6, 0.7]) == [0, 3]  # half a second later, not sooner


def test_motion_calls_it_after_a_third_of_the_interval() -> None:
    moved = BLANK.copy()
    moved[20:80, 10:60] = 220
    frames = [BLANK] + [moved] * 9
    assert due(Schedule("0.9s"), [n / 10 for n in range(10)], frames) == [0, 3]
    assert due(Schedule(9), [n / 10 for n in range(10)], frames) == [0, 3]


def test_a_cut_calls_it_at_once() -> None:
    rng = np.random.default_rng(5)
    one, other = (
        np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((15, 15, 1))).astype(np.uint8)
        for _ in range(2)
    )
    assert due(Schedule("9s"), [n / 10 for n in range(6)], [one] * 3 + [other] * 3) == [0, 3]
