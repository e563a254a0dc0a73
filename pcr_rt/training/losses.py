"""The training loss: squared error of heatmaps, summed over levels and auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pcr_rt.geometry import Size
from pcr_rt.training.networks.maps import PoseMaps

__all__ = ["heatmap_loss", "pose_loss"]

Targets = Callable[[Size], tuple[Tensor, Tensor]]
"""Heatmap size (w, h) -> targets (N, K, h, w) and weights (N, K)."""


def heatmap_loss(maps: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean over batch, keypoints and pixels of weight x squared error.

    maps, targets: (N, K, h, w); weights: (N, K), 0 for unlabelled keypoints.
    """
    return ((maps - targets).square().mean((2, 3)) * weights).mean()


def pose_loss(output: PoseMaps, targets: Targets, *, auxiliary_weight: float = 1.0) -> Tensor:
    """The loss of every level plus that of every auxiliary head at its own resolution."""

    def one(maps: Tensor) -> Tensor:
        return heatmap_loss(maps, *targets((maps.shape[-1], maps.shape[-2])))

    loss = sum((one(level) for level in output.levels[1:]), start=one(output.levels[0]))
    for maps in output.auxiliary:
        loss = loss + auxiliary_weight * one(maps)
    return loss
