"""Learning rates over the steps of a stage."""

from __future__ import annotations

import math

from pcr_rt.training.recipe import Stage

__all__ = ["rate_factor"]


def rate_factor(stage: Stage, step: int, total: int) -> float:
    """What ``stage.rate`` is multiplied with at ``step`` of ``total``.

    A linear warm-up, then a cosine down to ``final_rate``, or a tenth after each of
    ``stage.steps`` (fractions of the stage).
    """
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    progress = step / max(total, 1)
    if stage.schedule == "step":
        return math.prod(0.1 for boundary in stage.steps if progress >= boundary)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return stage.final_rate + (1 - stage.final_rate) * cosine
