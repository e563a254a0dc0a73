"""One training step's loss: augmented views through the network, against labels and teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pcr_rt.geometry import Size
from pcr_rt.training.data.augment import photometric
from pcr_rt.training.data.loader import Batch, View, to_heatmap
from pcr_rt.training.data.targets import draw_heatmaps, sigma_for, weights_inside
from pcr_rt.training.losses import pose_loss
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.recipe import Recipe
from pcr_rt.training.teacher import Teacher

__all__ = ["StepLoss", "normalise"]


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
