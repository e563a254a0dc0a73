"""How a network learns: what is frozen, the optimizer, the learning rate, averaged weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pcr_rt.errors import DataError
from pcr_rt.training.recipe import Optimizer, Stage

__all__ = ["averaged", "freeze", "make_optimizer", "rate_factor"]

Tensors = tuple[Tensor, ...] | list[Tensor]


def freeze(network: nn.Module, stage: Stage, options: Optimizer) -> None:
    """Put the network into training mode, except for what the stage and the options freeze.

    Those are the encoder at rate 0, modules of it by name, and batch norms, which then keep their
    statistics. Raises DataError if the encoder has no module of a name in ``stage.frozen``.
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
    """Make AdamW with a group of its own for an encoder that learns; ``base`` is a group's rate."""
    encoder = list(network.get_submodule("encoder").parameters())
    ids = {id(p) for p in encoder}
    rest = [p for p in network.parameters() if id(p) not in ids]
    groups = [{"params": rest, "base": stage.rate}]
    if stage.encoder_rate:
        groups.append({"params": encoder, "base": stage.rate * stage.encoder_rate})
    return torch.optim.AdamW(groups, lr=stage.rate, weight_decay=options.weight_decay)


def rate_factor(stage: Stage, step: int, total: int) -> float:
    """Return the factor of ``stage.rate`` at ``step`` of ``total``.

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


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Make the exponential moving average of a network's weights, which begins as they are now.

    Its ``module`` is the averaged network, in evaluation mode, to update after every step;
    ``n_averaged`` is 1 more than the steps it has seen. The first steps count more: the decay grows
    from 0.1 towards ``decay``. Norm statistics and counters are those of the network.
    """

    def update(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
        now = min(decay, int(count) / (int(count) + 9))
        torch._foreach_lerp_(averages, weights, 1 - now)

    average = AveragedModel(network, multi_avg_fn=update).eval().requires_grad_(False)
    average.n_averaged += 1  # at 0 the first update would copy the weights instead
    return average
