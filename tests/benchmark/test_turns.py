"""Calls in turns, with a clock that moves when a call says so."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pcr_rt.benchmark import turns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setitem(turns.in_turns.__kwdefaults__, "clock", lambda: now[0])
    monkeypatch.setattr(turns.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


def test_every_call_takes_an_item_before_the_next_comes(clock: list[float]) -> None:
    calls: list[tuple[str, Any]] = []

    def make(name: str, seconds: float) -> Any:
        def call(item: int) -> None:
            calls.append((name, item))
            clock[0] += seconds * item

        return call

    done: list[int] = []
    spent = turns.in_turns(
        {"a": make("a", 0.001), "b": make("b", 0.5)}, [1, 2, 3], pause_s=9, progress=done.append
    )
    assert calls == [("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("b", 3)]
    assert spent["a"] == pytest.approx([1, 2, 3])
    assert spent["b"] == pytest.approx([500, 1000, 1500])
    assert done == [1, 2, 3]


def test_work_of_others_does_not_count_by_the_threads_own_clock() -> None:
    spent = turns.in_turns({"idle": lambda _: time.sleep(0.05)}, [1], clock=time.thread_time)
    assert spent["idle"][0] < 25


def test_nothing_to_call_is_no_error() -> None:
    assert turns.in_turns({}, [1]) == {}


def test_spread_of_a_hundred_and_one_values() -> None:
    assert turns.spread([float(i) for i in reversed(range(101))]) == {
        "min": 0,
        "p25": 25,
        "p50": 50,
        "p75": 75,
        "p95": 95,
        "max": 100,
    }


def test_ratios_are_of_the_same_item() -> None:
    """The medians' ratio would be 1: each item is compared with itself."""
    found = turns.ratios([1, 4, 10], [2, 4, 1])
    assert (found["min"], found["p50"], found["max"]) == (0.5, 1, 10)
