"""What the rows say of estimators whose people and stages are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pcr_rt.benchmark import turns
from pcr_rt.benchmark.cases import Case
from pcr_rt.benchmark.measure import measure
from pcr_rt.inference.estimator import STAGES


class Estimator:
    """Takes ``seconds`` a frame; a frame's first value is how many people it has."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds, self.calls = clock, seconds, 0
        self.seen: list[list[int]] = []
        self.timings = dict.fromkeys(STAGES, 0.0)

    def batch(self, frames: Sequence[Any]) -> list[list[None]]:
        self.calls += 1
        self.seen.append([int(frame.flat[0]) for frame in frames])
        first = self.calls == 1  # as when buffers are made
        took = (100 if first else 1) * self.seconds * len(frames)
        self.clock[0] += took
        self.timings = {**self.timings, "infer": took * 1e3}
        return [[None] * int(frame.flat[0]) for frame in frames]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setitem(turns.in_turns.__kwdefaults__, "clock", lambda: now[0])
    return now


def case(estimator: Estimator, batch: int = 1) -> Any:
    return Case("toy", "fp32", "cpu", "host", batch, estimator, 12.34)  # type: ignore[arg-type]


def test_figures_are_by_the_frame_and_the_first_call_does_not_count(clock: list[float]) -> None:
    frames = [np.full((2, 2, 3), n, np.uint8) for n in (0, 3, 6)]
    one, four = Estimator(clock, 0.010), Estimator(clock, 0.005)
    done: list[tuple[int, int | None]] = []
    rows = measure([case(one), case(four, 4)], frames, 3, lambda d, t: done.append((d, t)))
    assert four.seen == [[0, 3, 6, 0], [0, 3, 6, 0], [3, 6, 0, 3], [6, 0, 3, 6]]
    assert one.seen[1:] == [[0], [3], [6]]
    first, second = rows
    assert first.ms["p95"] == pytest.approx(10)
    assert second.ms["p50"] == pytest.approx(5)
    assert second.ratio["p50"] == pytest.approx(0.5)
    assert second.stages_ms["infer"]["max"] == pytest.approx(5)
    assert second.stages_ms["crop"]["max"] == 0
    assert (first.fps, second.fps) == (100, 200)
    assert (first.people, second.people) == (3, pytest.approx((9 + 12 + 15) / 12))
    assert first.memory_mib == 12.3
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert second.title == "toy FP32 x4"
