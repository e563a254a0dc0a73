from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from pcr_rt.training.optimisation import averaged, rate_factor
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


def test_averages_by_hand() -> None:
    network = nn.BatchNorm1d(1)
    average = averaged(network, decay=0.15)
    for weight, mean in ((2.0, 5.0), (3.0, 6.0)):
        nn.init.constant_(network.weight, weight)
        nn.init.constant_(network.running_mean, mean)
        average.update_parameters(network)
    assert not average.module.training
    # From 1: a decay of 1 / 10, then of 0.15, since 2 / 11 is more; statistics are copied.
    expected = 0.15 * (0.1 * 1 + 0.9 * 2) + 0.85 * 3
    assert average.module.weight.item() == pytest.approx(expected)
    assert average.module.running_mean.item() == 6
