"""From a batch to its loss: squared error of heatmaps, summed over levels and auxiliary heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from pcr_rt.geometry import Size
from pcr_rt.training.data.augment import photometric
from pcr_rt.training.data.input import normalise
from pcr_rt.training.data.loader import Batch, View
from pcr_rt.training.data.targets import draw_heatmaps, sigma_for, to_heatmap, weights_inside
from pcr_rt.training.networks.maps import PoseMaps, size_of
from pcr_rt.training.recipe import Recipe
from pcr_rt.training.teacher import Teacher

__all__ = ["StepLoss", "Targets", "heatmap_loss", "pose_loss"]

Targets = Mapping[Size, tuple[Tensor, Tensor]]
"""Of each heatmap size (w, h) its targets (N, K, h, w) and weights (N, K)."""


class StepLoss:
    """The loss of a batch under a recipe.

    view: what the stage looks at. part: (rank, processes), whose part of each batch this is.
    """

    def __init__(
        self, recipe: Recipe, view: View, teacher: Teacher | None, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.recipe, self.view, self.teacher, self.part = recipe, view, teacher, part

    def __call__(self, network: nn.Module, batch: Batch, step: int) -> Tensor:
        """Return the loss of this process's part of step ``step``, a scalar with gradients."""
        views = photometric(
            batch.images.permute(0, 3, 1, 2).float(),
            self.view.augmentation,
            torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step),
            self.part,
        )
        bf16 = self.recipe.optimizer.precision == "bf16"
        with torch.autocast(views.device.type, torch.bfloat16, enabled=bf16):
            output: PoseMaps = network(normalise(views, self.recipe.input))
        # Targets and squared errors stay in FP32: a Gaussian's tail is small.
        output = PoseMaps([m.float() for m in output.levels], [m.float() for m in output.auxiliary])
        sizes = output.sizes()
        options = self.recipe.loss
        loss = pose_loss(
            output,
            {size: self._labels(batch, size) for size in sizes},
            level_weights=options.level_weights,
            auxiliary_weight=options.auxiliary_weight,
            hard_keypoints=options.hard_keypoints,
        )
        if self.teacher is None:
            return loss
        taught = pose_loss(
            output,
            self._taught(self.teacher, batch, views, sizes),
            level_weights=options.level_weights,
            auxiliary_weight=options.auxiliary_weight,
        )
        return loss + options.teacher_weight * taught

    def _labels(self, batch: Batch, size: Size) -> tuple[Tensor, Tensor]:
        """Targets and weights on maps of ``size``; the Gaussian has one size in the input."""
        view = self.view
        points = to_heatmap(batch.points, view.size, size, view.transform)
        sigma = sigma_for(view.heatmap) * size[1] / view.heatmap[1]
        maps = draw_heatmaps(points, batch.amplitudes, size, sigma)
        return maps, weights_inside(points, batch.weights, size, sigma)

    def _taught(
        self, teacher: Teacher, batch: Batch, views: Tensor, sizes: Iterable[Size]
    ) -> Targets:
        """What the teacher sees in the views, as targets of each size."""
        view = self.view
        # A teacher of another skeleton is joined by name; what it lacks is not learnt from it.
        slots = teacher.spec.skeleton.slots(view.skeleton.keypoints)
        known = torch.from_numpy(slots >= 0).to(views.device)
        found = teacher.maps(views, view.transform)[:, slots.clip(0).tolist()]
        # Hard negatives show nobody, whatever the teacher believes to see.
        weights = known * (1 - ((batch.weights > 0) & (batch.amplitudes == 0)).float())
        return {
            size: (teacher.on_grid(found, view.size, size, view.transform), weights)
            for size in sizes
        }


def pose_loss(
    output: PoseMaps,
    targets: Targets,
    *,
    level_weights: Sequence[float] = (),
    auxiliary_weight: float = 1.0,
    hard_keypoints: int = 0,
) -> Tensor:
    """Sum the losses of every level and every auxiliary head, each at its own resolution.

    targets: for the size of every map of ``output``. level_weights: one per level, 1 unless given.
    hard_keypoints applies to the last level alone: the levels before it and the auxiliary heads
    learn all keypoints.
    """
    levels, auxiliary = output
    weights = level_weights or [1.0] * len(levels)
    mined = [0] * (len(levels) - 1) + [hard_keypoints]
    terms = [
        weight * heatmap_loss(maps, *targets[size_of(maps)], hard_keypoints=hard)
        for maps, weight, hard in zip(levels, weights, mined, strict=True)
    ]
    terms += [auxiliary_weight * heatmap_loss(maps, *targets[size_of(maps)]) for maps in auxiliary]
    return sum(terms[1:], start=terms[0])


def heatmap_loss(
    maps: Tensor, targets: Tensor, weights: Tensor, *, hard_keypoints: int = 0
) -> Tensor:
    """Average weight x squared error over batch, keypoints and pixels.

    maps, targets: (N, K, h, w); weights: (N, K), 0 for unlabelled keypoints. hard_keypoints: of
    each person only this many keypoints count, those with the largest loss, and the mean is over
    them (online hard keypoint mining, Chen et al. 2018); 0 for all.
    """
    errors = (maps - targets).square().mean((2, 3)) * weights
    if hard_keypoints:
        errors = errors.topk(min(hard_keypoints, errors.shape[1]), dim=1).values
    return errors.mean()
