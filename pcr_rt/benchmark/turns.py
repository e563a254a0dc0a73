"""Time several calls in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["in_turns", "ratios", "spread"]

T = TypeVar("T")


def in_turns(
    calls: Mapping[str, Callable[[T], object]],
    items: Iterable[T],
    *,
    pause_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], object] = lambda done: None,
) -> dict[str, list[float]]:
    """Time each call on each item: milliseconds by the call's name, one for each item.

    All calls take an item before the next one comes, and another call begins each time. pause_s:
    rest before each call, for libraries whose threads go on spinning after theirs. clock: gives
    seconds; ``time.thread_time`` counts this thread's work alone, whatever else the machine does.
    progress: gets the number of items done.
    """
    names = list(calls)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number, item in enumerate(items):
        first = number % max(len(names), 1)
        for name in names[first:] + names[:first]:
            if pause_s:
                time.sleep(pause_s)
            start = clock()
            calls[name](item)
            spent[name].append((clock() - start) * 1e3)
        progress(number + 1)
    return spent


def spread(values: Sequence[float]) -> dict[str, float]:
    """Summarise values: their least, quartiles, 95th percentile and greatest."""
    percents = {"min": 0, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "max": 100}
    found = np.percentile(np.asarray(values, dtype=float), list(percents.values()))
    return {name: round(float(value), 4) for name, value in zip(percents, found, strict=True)}


def ratios(values: Sequence[float], reference: Sequence[float]) -> dict[str, float]:
    """Summarise the ratios of times to those that the reference took on the same items."""
    return spread([mine / other for mine, other in zip(values, reference, strict=True)])
