"""Time models on this machine, in turns, from frames to people and stage by stage."""

from __future__ import annotations

from pcr_rt.benchmark.cases import Case, open_cases
from pcr_rt.benchmark.frames import frames_of, made_frame
from pcr_rt.benchmark.machine import describe_machine
from pcr_rt.benchmark.measure import Row, measure
from pcr_rt.benchmark.turns import in_turns, ratios, spread

__all__ = [
    "Case",
    "Row",
    "describe_machine",
    "frames_of",
    "in_turns",
    "made_frame",
    "measure",
    "open_cases",
    "ratios",
    "spread",
]
