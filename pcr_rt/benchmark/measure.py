"""Time cases on frames, and lay the figures out as rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pcr_rt.benchmark.cases import Case
from pcr_rt.benchmark.turns import in_turns, ratios, spread
from pcr_rt.inference.estimator import STAGES

__all__ = ["Row", "measure"]

Progress = Callable[[int, "int | None"], object]


@dataclass(frozen=True)
class Row:
    """What was measured of one case, by the frame.

    ms: whole frames; ratio: to the first case's time for the same frames; stages_ms: the stages
    that the estimator's thread spends its time in. All are spreads (see `spread`). fps: frames a
    second of calls one after the other; people: mean of those shown.
    """

    title: str
    model: str
    precision: str
    provider: str
    mode: str
    batch: int
    ms: dict[str, float]
    ratio: dict[str, float]
    stages_ms: dict[str, dict[str, float]]
    fps: float
    people: float
    memory_mib: float | None


def measure(
    cases: Sequence[Case],
    frames: Sequence[NDArray[np.uint8]],
    rounds: int,
    progress: Progress = lambda done, total: None,
) -> list[Row]:
    """Time each case in turns, ``rounds`` calls each, after one that does not count.

    frames: (H, W, 3) uint8 BGR, which are gone through again and again.
    """
    stages: list[defaultdict[str, list[float]]] = [defaultdict(list) for _ in cases]
    people: list[list[int]] = [[] for _ in cases]

    def call(place: int, number: int) -> None:
        case = cases[place]
        which = (frames[(number + i) % len(frames)] for i in range(case.batch))
        people[place] += map(len, case.estimator.batch(list(which)))
        for stage, milliseconds in case.estimator.timings.items():
            stages[place][stage].append(milliseconds / case.batch)

    calls = {str(place): partial(call, place) for place in range(len(cases))}
    in_turns(calls, range(1))
    for place in range(len(cases)):
        stages[place].clear()
        people[place].clear()
    took = in_turns(calls, range(rounds), progress=lambda done: progress(done, rounds))
    spent = [
        [ms / case.batch for ms in times] for case, times in zip(cases, took.values(), strict=True)
    ]
    return [
        _row(case, spent[place], stages[place], people[place], spent[0])
        for place, case in enumerate(cases)
    ]


def _row(
    case: Case,
    ms: Sequence[float],
    stages: Mapping[str, Sequence[float]],
    people: Sequence[int],
    of_first: Sequence[float],
) -> Row:
    return Row(
        title=case.title,
        model=case.model,
        precision=case.precision,
        provider=case.provider,
        mode=case.mode,
        batch=case.batch,
        ms=spread(ms),
        ratio=ratios(ms, of_first),
        stages_ms={stage: spread(stages[stage]) for stage in STAGES},
        fps=round(1e3 * len(ms) / sum(ms), 2),
        people=round(float(np.mean(people)), 2),
        memory_mib=None if case.memory_mib is None else round(case.memory_mib, 1),
    )
