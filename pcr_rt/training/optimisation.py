"""What of a network learns in a stage, how fast, and its running average."""

from __future__ import annotations

import math

import torch
from torch import nn

from pcr_rt.errors import DataError
from pcr_rt.training.recipe import Optimizer, Stage

__all__ = [
    "freeze",
    "make_optimizer",
    "rate_factor",
    "update_average",
]


def freeze(network: nn.Module, stage: Stage, options: Optimizer) -> None:
    """Training mode; a frozen encoder, its frozen modules and frozen batch norms stay as they are.

    Raises DataError where the encoder has no module of a name in ``stage.frozen``.
    """
    encoder = network.get_submodule("encoder")
    frozen = stage.encoder_rate == 0
    network.train()
    encoder.requires_grad_(not frozen)
    if frozen or options.frozen_norms == "encoder":
        encoder.eval()
    modules = dict(encoder.named_modules())
    for name in stage.frozen:
        if not name or name not in modules:
            tops = ", ".join(n for n, _ in encoder.named_children())
            raise DataError(
                f"stage: frozen has {name!r}, which is no module of the encoder; its modules are"
                f" {tops} and those in them, named like layer1.0."
            )
        modules[name].requires_grad_(False).eval()
    if options.frozen_norms == "all":
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def make_optimizer(network: nn.Module, stage: Stage, options: Optimizer) -> torch.optim.Optimizer:
    """AdamW with a group for the encoder, unless frozen; ``base`` is each group's rate."""
    encoder = list(network.get_submodule("encoder").parameters())
    ids = {id(p) for p in encoder}
    rest = [p for p in network.parameters() if id(p) not in ids]
    groups = [{"params": rest, "base": stage.rate}]
    if stage.encoder_rate:
        groups.append({"params": encoder, "base": stage.rate * stage.encoder_rate})
    return torch.optim.AdamW(groups, lr=stage.rate, weight_decay=options.weight_decay)


def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights; norm statistics and counters are copied.

    The first steps count more: decay grows from 0.1 at ``step`` 0 towards ``decay``.
    """
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        weights = zip(average.parameters(), network.parameters(), strict=True)
        for mean, now in weights:
            mean.lerp_(now, 1 - decay)
        statistics = zip(average.buffers(), network.buffers(), strict=True)
        for old, new in statistics:
            old.copy_(new)


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
