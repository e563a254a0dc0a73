from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.training.optimisation import rate_factor
from pcr_rt.training.recipe import Stage


@pytest.mark.parametrize(
    ("stage", "step", "expected"),
    [
        (Stage((1, 1), 1, warmup_steps=10), 4, 0.5),
        (Stage((1, 1), 1, final_rate=0.1), 0, 1.0),
        (Stage((1, 1), 1, final_rate=0.1), 50, 0.55),
        (Stage((1, 1), 1, final_rate=0.1), 100, 0.1),
        (Stage((1, 1), 1, schedule="step", steps=(0.5, 0.9)), 49, 1.0),
        (Stage((1, 1), 1, schedule="step", steps=(0.5, 0.9)), 50, 0.1),
        (Stage((1, 1), 1, schedule="step", steps=(0.5, 0.9)), 95, 0.01),
    ],
)
def test_schedules_by_hand(stage: Stage, step: int, expected: float) -> None:
    assert rate_factor(stage, step, 100) == pytest.approx(expected)
