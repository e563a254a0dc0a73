"""What the network in training is worth on the recipe's validation fold, through the runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pcr_rt.coco.annotations import load_annotations, select_images
from pcr_rt.coco.evaluation import keypoint_ap
from pcr_rt.coco.matching import require_pycocotools
from pcr_rt.coco.record_images import read_labelled
from pcr_rt.drawing import contact_sheet
from pcr_rt.errors import DataError
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import Skeleton
from pcr_rt.training.data.coco import people_of
from pcr_rt.training.data.datasets import is_in_fold
from pcr_rt.training.data.person import Person
from pcr_rt.training.data.targets import sigma_for
from pcr_rt.training.networks.maps import heatmap_size
from pcr_rt.training.recipe import Recipe, Stage, skeleton_of
from pcr_rt.training.torch_engine import TorchEngine

__all__ = ["Score", "metric_of", "preview", "validation"]

PREVIEWS = 6
REACH = 0.1
"""How far a right keypoint may be from its label, as a part of the box's longer side."""
STEPS = 10


class Score(NamedTuple):
    """What a network is worth, 0 to 1.

    value: what checkpoints are chosen by, see `metric_of`. pck: the part of the labelled keypoints
    that are within a tenth of the box's longer side.
    """

    value: float
    pck: float


def metric_of(skeleton: Skeleton) -> str:
    """Name what checkpoints are chosen by: COCO keypoint AP if the skeleton has sigmas.

    Without sigmas OKS means nothing. PCK AUC is the mean of the PCK at 1, 2, ... 10 % of the box's
    longer side, so it also tells networks apart that have every keypoint within a tenth.
    """
    return "AP" if skeleton.sigmas else "PCK AUC"


def validation(recipe: Recipe, data: Path) -> Callable[[nn.Module, Stage], Score]:
    """Make a function that scores a network with ground-truth boxes, without flip test.

    Raises DataError when the annotations cannot be used.
    """
    skeleton = skeleton_of(recipe, data)
    fold = _Fold(recipe, data, skeleton)
    if skeleton.sigmas:
        require_pycocotools()

    def measure(network: nn.Module, stage: Stage) -> Score:
        estimator = _estimator(recipe, skeleton, network, stage)
        results: list[dict[str, Any]] = []
        distances: list[NDArray[np.float64]] = []
        for image_id, people in fold.people.items():
            poses = estimator(_read(people), boxes=_boxes(people))
            results += poses.to_coco(image_id)
            distances += _distances(people, poses.keypoints)
        found = np.concatenate(distances)
        pck = [float((found <= REACH * i / STEPS).mean()) for i in range(1, STEPS + 1)]
        if not skeleton.sigmas:
            return Score(float(np.mean(pck)), pck[-1])
        found_ap = keypoint_ap(fold.annotations, results, fold.ids, skeleton=skeleton)
        return Score(found_ap.ap, pck[-1])

    return measure


def preview(recipe: Recipe, data: Path) -> Callable[[nn.Module, Stage], NDArray[np.uint8]]:
    """Make a function that draws a network's poses on the first images of the fold with people.

    The result is one BGR image. Raises DataError when the annotations cannot be used.
    """
    skeleton = skeleton_of(recipe, data)
    fold = _Fold(recipe, data, skeleton)
    chosen = list(fold.people.values())[:PREVIEWS]

    def draw(network: nn.Module, stage: Stage) -> NDArray[np.uint8]:
        estimator = _estimator(recipe, skeleton, network, stage)
        drawn = []
        for people in chosen:
            frame = _read(people)
            poses = estimator(frame, boxes=_boxes(people))
            drawn.append(poses.draw(frame, colours="sides", keypoint_threshold=0.2))
        return contact_sheet(drawn, 3, (320, 240))

    return draw


class _Fold:
    """The labelled people of the validation fold, by image, and what AP is measured with."""

    def __init__(self, recipe: Recipe, data: Path, skeleton: Skeleton) -> None:
        options = recipe.validation
        file = data / options.annotations
        self.annotations = load_annotations(file)
        images = select_images(self.annotations)
        self.ids = [i for i in images if is_in_fold(i, options.fold)]
        in_fold = set(self.ids)
        labelled = [
            a
            for a in self.annotations["annotations"]
            if a["image_id"] in in_fold and any(v > 0 for v in (a.get("keypoints") or ())[2::3])
        ]
        shown = {a["image_id"] for a in labelled}
        part = {
            **self.annotations,
            "images": [images[i] for i in self.ids if i in shown],
            "annotations": labelled,
        }
        self.people: dict[Any, list[Person]] = {}
        for person in people_of(part, file, data / options.images, skeleton=skeleton):
            person = replace(person, ignore_exif=options.ignore_exif)
            self.people.setdefault(person.image_id, []).append(person)
        if not self.people:
            raise DataError(f"The validation fold {options.fold!r} of {file} labels nobody.")


def _read(people: list[Person]) -> NDArray[np.uint8]:
    first = people[0]
    return read_labelled(first.image, first.image_size, ignore_exif=first.ignore_exif)


def _boxes(people: list[Person]) -> NDArray[np.float64]:
    return np.array([person.box for person in people])


def _distances(people: list[Person], found: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Of each person the labelled keypoints' distances, as parts of the box's longer side."""
    if len(found) != len(people):  # a box outside of its image, which nobody can find
        raise DataError(f"{people[0].image} has a labelled box outside of the image: remove it.")
    return [
        np.linalg.norm(points - person.keypoints, axis=1)[person.weights > 0]
        / (person.box[2:] - person.box[:2]).max()
        for person, points in zip(people, found.astype(np.float64), strict=True)
    ]


def _estimator(
    recipe: Recipe, skeleton: Skeleton, network: nn.Module, stage: Stage
) -> PoseEstimator:
    spec = ModelSpec(
        recipe.name,
        "heatmap",
        stage.size,
        recipe.input.mean,
        recipe.input.std,
        transform=recipe.input.transform,
        sigma=sigma_for(heatmap_size(network, stage.size)),
        person_score=recipe.person_score,
        skeleton=skeleton,
    )
    engine = TorchEngine(network, spec)
    return PoseEstimator(engine, detector=None, score_threshold=0, nms=None)
