"""AP of the network in training, on the recipe's validation fold and through the runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pcr_rt.coco.annotations import (
    is_labelled,
    load_annotations,
    picture_path,
    read_picture,
    select_images,
    select_people,
)
from pcr_rt.coco.evaluation import evaluate
from pcr_rt.drawing import contact_sheet, draw_poses
from pcr_rt.errors import DataError
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.models import ModelSpec
from pcr_rt.training.data.datasets import is_in_fold
from pcr_rt.training.data.targets import sigma_for
from pcr_rt.training.networks.maps import heatmap_size
from pcr_rt.training.recipe import Recipe, Stage
from pcr_rt.training.torch_engine import TorchEngine

__all__ = ["preview", "validation"]

PREVIEWS = 6


def validation(recipe: Recipe, data: Path) -> Callable[[nn.Module, Stage], float]:
    """Make a function that gives AP with ground-truth boxes, without flip test.

    Raises DataError when the annotations cannot be used.
    """
    annotations, images, ids = _fold(recipe, data)

    def measure(network: nn.Module, stage: Stage) -> float:
        estimator = _estimator(recipe, network, stage)
        return evaluate(estimator, annotations, images, image_ids=ids)[0].ap

    return measure


def preview(recipe: Recipe, data: Path) -> Callable[[nn.Module, Stage], NDArray[np.uint8]]:
    """Make a function that draws a network's poses on the first images of the fold with people.

    The result is one BGR image. Raises DataError when the annotations cannot be used.
    """
    annotations, images, ids = _fold(recipe, data)
    parsed = load_annotations(annotations)
    records = select_images(parsed, ids)
    boxes: dict[Any, list[list[float]]] = {}
    for person in filter(is_labelled, select_people(parsed, records)):
        x, y, width, height = person["bbox"]
        boxes.setdefault(person["image_id"], []).append([x, y, x + width, y + height])
    chosen = list(boxes)[:PREVIEWS]

    def draw(network: nn.Module, stage: Stage) -> NDArray[np.uint8]:
        estimator = _estimator(recipe, network, stage)
        drawn = []
        for image_id in chosen:
            frame = read_picture(images, records[image_id])
            poses = estimator(frame, boxes=np.array(boxes[image_id]))
            drawn.append(draw_poses(frame, poses, keypoint_threshold=0.2, labels=False))
        return contact_sheet(drawn, 3, (320, 240))

    return draw


def _fold(recipe: Recipe, data: Path) -> tuple[Path, Path, list[Any]]:
    """Annotations, images and the ids of the validation fold."""
    options = recipe.validation
    annotations, folder = data / options.annotations, data / options.images
    parsed = load_annotations(annotations)
    records = {i: r for i, r in select_images(parsed).items() if is_in_fold(i, options.fold)}
    labelled = {p["image_id"] for p in filter(is_labelled, select_people(parsed, records))}
    if not labelled:
        raise DataError(f"The validation fold {options.fold!r} of {annotations} labels nobody.")
    for image_id in labelled:
        path = picture_path(folder, records[image_id])
        if not path.is_file():
            raise DataError(f"The image {path} of the validation fold does not exist.")
    return annotations, folder, list(records)


def _estimator(recipe: Recipe, network: nn.Module, stage: Stage) -> PoseEstimator:
    spec = ModelSpec(
        recipe.name,
        "heatmap",
        stage.size,
        recipe.input.mean,
        recipe.input.std,
        transform=recipe.input.transform,
        sigma=sigma_for(heatmap_size(network, stage.size)),
        person_score=recipe.person_score,
    )
    engine = TorchEngine(network, spec)
    return PoseEstimator(engine, detector=None, score_threshold=0, nms=None)
