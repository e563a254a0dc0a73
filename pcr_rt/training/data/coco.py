"""People from COCO person-keypoints JSON, labelled by hand or by a teacher."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.annotations import is_finite, load_annotations, picture_path
from pcr_rt.errors import DataError
from pcr_rt.skeleton import NUM_KEYPOINTS, slots_by_name

__all__ = ["Person", "read_people"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Person:
    """One person to learn from, in pixels of its picture.

    box: (4,) xyxy; keypoints: (17, 2); amplitudes: (17,) peak height of each target, 1 for a label
    made by hand, the teacher's score for a pseudo-label; weights: (17,) 0 where unlabelled.
    """

    image: Path
    image_id: int
    box: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    amplitudes: NDArray[np.float64]
    weights: NDArray[np.float64]


def _slots(data: Mapping[str, Any], path: Path) -> NDArray[np.intp]:
    """Which COCO slot each keypoint of the file belongs to, joined by name."""
    named = [c["keypoints"] for c in data.get("categories", []) if "keypoints" in c]
    if not named:
        return np.arange(NUM_KEYPOINTS)
    slots = slots_by_name(named[0])
    if (slots < 0).all():
        raise DataError(f"{path} names no keypoint that COCO has; its names are {named[0]}.")
    return slots


def read_people(
    annotations: Path, images: Path, *, weight: float = 1.0, min_keypoints: int = 1
) -> list[Person]:
    """All people of a COCO keypoint file who have at least ``min_keypoints`` labelled keypoints.

    annotations: COCO JSON. An annotation may carry ``keypoint_scores`` (17), which become the
    amplitudes of its targets. images: the folder of the pictures. weight: multiplies the loss of
    these people. Crowds are left out. A picture that is not there, or a box or keypoint list that
    cannot be right, is an error that names its id.
    """
    data = load_annotations(annotations)
    slots = _slots(data, annotations)
    common = slots >= 0
    records = {record["id"]: record for record in data["images"]}
    missing = [r["id"] for r in records.values() if not picture_path(images, r).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} pictures of {annotations} are not in {images}, the first has id"
            f" {missing[0]}: point to the folder that holds them."
        )
    people = []
    for annotation in data["annotations"]:
        if annotation.get("iscrowd") or "keypoints" not in annotation:
            continue
        scores = annotation.get("keypoint_scores", np.ones(len(slots)))
        if not (
            is_finite(annotation["keypoints"], 3 * len(slots))
            and is_finite(annotation.get("bbox"), 4)
            and is_finite(scores, len(slots))
        ):
            raise DataError(f"Annotation {annotation.get('id')} of {annotations} is malformed.")
        label = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        box = np.asarray(annotation["bbox"], dtype=np.float64)
        if (label[common, 2] > 0).sum() < min_keypoints or min(box[2:]) <= 0:
            continue
        keypoints, amplitudes, weights = np.zeros((17, 2)), np.zeros(17), np.zeros(17)
        keypoints[slots[common]] = label[common, :2]
        amplitudes[slots[common]] = np.asarray(scores)[common]
        weights[slots[common]] = (label[common, 2] > 0) * weight
        people.append(
            Person(
                image=picture_path(images, records[annotation["image_id"]]),
                image_id=int(annotation["image_id"]),
                box=np.concatenate([box[:2], box[:2] + box[2:]]),
                keypoints=keypoints,
                amplitudes=amplitudes,
                weights=weights,
            )
        )
    log.info("%s: %d people", annotations, len(people))
    return people
