"""The training loss: squared error of heatmaps, summed over levels and auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pcr_rt.geometry import Size
from pcr_rt.training.data.augment import photometric
from pcr_rt.training.data.loader import Batch, View
from pcr_rt.training.data.targets import draw_heatmaps, sigma_for, to_heatmap, weights_inside
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.recipe import Recipe
from pcr_rt.training.teacher import Teacher

__all__ = [
    "StepLoss",
    "Targets",
    "heatmap_loss",
    "normalise",
    "pose_loss",
]

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


class StepLoss:
    """The loss of a batch under a recipe.

    view: what the stage looks at. part: (rank, processes), whose part of each batch this is.
    """

    def __init__(
        self, recipe: Recipe, view: View, teacher: Teacher | None, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.recipe, self.view, self.teacher, self.part = recipe, view, teacher, part

    def __call__(self, network: nn.Module, batch: Batch, step: int) -> Tensor:
        """The loss of this process's part of step ``step``, as a scalar with gradients."""
        views = photometric(
            batch.images.permute(0, 3, 1, 2).float(),
            self.view.augmentation,
            torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step),
            self.part,
        )
        bf16 = self.recipe.optimizer.precision == "bf16"
        with torch.autocast(views.device.type, torch.bfloat16, enabled=bf16):
            output: PoseMaps = network(normalise(views, self.recipe))
        # Targets and squared errors stay in FP32: a Gaussian's tail is small.
        output = PoseMaps([m.float() for m in output.levels], [m.float() for m in output.auxiliary])
        options = self.recipe.loss
        loss = pose_loss(
            output,
            lambda size: self._labels(batch, size),
            level_weights=options.level_weights,
            auxiliary_weight=options.auxiliary_weight,
            hard_keypoints=options.hard_keypoints,
        )
        if self.teacher is not None:
            loss = loss + options.teacher_weight * self._teacher_loss(
                output, batch, views, self.teacher
            )
        return loss

    def _labels(self, batch: Batch, size: Size) -> tuple[Tensor, Tensor]:
        """Targets and weights on maps of ``size``; the Gaussian is of one size in the input."""
        view = self.view
        points = to_heatmap(batch.points, view.size, size, view.transform)
        sigma = sigma_for(view.heatmap) * size[1] / view.heatmap[1]
        maps = draw_heatmaps(points, batch.amplitudes, size, sigma)
        return maps, weights_inside(points, batch.weights, size, sigma)

    def _teacher_loss(
        self, output: PoseMaps, batch: Batch, views: Tensor, teacher: Teacher
    ) -> Tensor:
        view = self.view
        found = teacher.maps(views, view.transform)
        # Hard negatives show nobody, whatever the teacher believes to see.
        weights = 1 - ((batch.weights > 0) & (batch.amplitudes == 0)).float()
        return pose_loss(
            output,
            lambda size: (teacher.on_grid(found, view.size, size, view.transform), weights),
            level_weights=self.recipe.loss.level_weights,
            auxiliary_weight=self.recipe.loss.auxiliary_weight,
        )


def normalise(images: Tensor, recipe: Recipe) -> Tensor:
    """Pictures (N, 3, H, W) RGB 0..255 as the network's input."""
    mean = torch.tensor(recipe.input.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(recipe.input.std, device=images.device).view(1, 3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
