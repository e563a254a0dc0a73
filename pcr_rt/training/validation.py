"""AP of the network in training, on the recipe's validation fold and through the runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from pcr_rt.annotations import load_annotations
from pcr_rt.estimator import PoseEstimator
from pcr_rt.evaluation import evaluate
from pcr_rt.models import ModelSpec
from pcr_rt.training.data.targets import sigma_for
from pcr_rt.training.recipe import Recipe, Stage
from pcr_rt.training.torch_engine import TorchEngine, heatmap_size

__all__ = ["validation"]


def validation(recipe: Recipe, data: Path) -> Callable[[nn.Module, Stage], float]:
    """A function that gives AP with ground-truth boxes, without flip test.

    Raises DataError when the annotations cannot be used.
    """
    options = recipe.validation
    annotations, images = data / options.annotations, data / options.images
    ids = [image["id"] for image in load_annotations(annotations)["images"]]
    if options.fold != "all":
        ids = [i for i in ids if (i % 5 == 0) == (options.fold == "dev")]

    def measure(network: nn.Module, stage: Stage) -> float:
        spec = ModelSpec(
            recipe.name,
            "heatmap",
            stage.size,
            recipe.input.mean,
            recipe.input.std,
            transform=recipe.input.transform,
            sigma=sigma_for(heatmap_size(network, stage.size)),
        )
        engine = TorchEngine(network, spec)
        estimator = PoseEstimator(engine, detector=None, score_threshold=0, nms=None)
        return evaluate(estimator, annotations, images, image_ids=ids)[0].ap

    return measure
