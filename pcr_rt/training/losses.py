"""The training loss: squared error of heatmaps, summed over levels and auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from pcr_rt.geometry import Size
from pcr_rt.training.networks.maps import PoseMaps

__all__ = ["Targets", "heatmap_loss", "pose_loss"]

Targets = Callable[[Size], tuple[Tensor, Tensor]]
"""Heatmap size (w, h) -> targets (N, K, h, w) and weights (N, K)."""


def heatmap_loss(
    maps: Tensor, targets: Tensor, weights: Tensor, *, hard_keypoints: int = 0
) -> Tensor:
    """Mean over batch, keypoints and pixels of weight x squared error.

    maps, targets: (N, K, h, w); weights: (N, K), 0 for unlabelled keypoints. hard_keypoints: of
    each person only this many keypoints count, those with the largest loss, and the mean is over
    them (online hard keypoint mining, Chen et al. 2018); 0 for all.
    """
    errors = (maps - targets).square().mean((2, 3)) * weights
    if hard_keypoints:
        errors = errors.topk(min(hard_keypoints, errors.shape[1]), dim=1).values
    return errors.mean()


def pose_loss(
    output: PoseMaps,
    targets: Targets,
    *,
    level_weights: Sequence[float] = (),
    auxiliary_weight: float = 1.0,
    hard_keypoints: int = 0,
) -> Tensor:
    """The loss of every level plus that of every auxiliary head, each at its own resolution.

    level_weights: one a level, 1 unless given. hard_keypoints applies to the last level alone: the
    levels before it and the auxiliary heads learn all keypoints.
    """

    def one(maps: Tensor, hard: int = 0) -> Tensor:
        return heatmap_loss(maps, *targets((maps.shape[-1], maps.shape[-2])), hard_keypoints=hard)

    last = len(output.levels) - 1
    terms = [
        (level_weights[i] if level_weights else 1.0) * one(maps, hard_keypoints * (i == last))
        for i, maps in enumerate(output.levels)
    ]
    terms += [auxiliary_weight * one(maps) for maps in output.auxiliary]
    return sum(terms[1:], start=terms[0])
