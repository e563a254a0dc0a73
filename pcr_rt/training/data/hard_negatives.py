"""Hard-negative person detections (HNDM): confident boxes without a person become empty targets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.coco.annotations import is_finite, is_person, load_annotations, person_category
from pcr_rt.coco.detections import load_detections, of_people
from pcr_rt.coco.record_images import image_path, image_size, read_record_image
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.person import Broken, Person, report_broken

__all__ = ["detect", "read_hard_negatives"]

log = logging.getLogger(__name__)

Detect = Callable[[Sequence[NDArray[np.uint8]], float], Sequence[tuple[ArrayLike, ArrayLike]]]
"""Frames (BGR) and a lowest score -> boxes (N, 4) xyxy and scores (N,) of each frame."""


def detect(
    detector: Detect, annotations: Path, images: Path, *, min_score: float
) -> list[dict[str, Any]]:
    """Run a detector on all images of a COCO file, with COCO results as the answer.

    detector: a `pcr_rt.inference.detector.Detector` or another callable like it.
    """
    results = []
    for record in load_annotations(annotations, need_keypoints=False)["images"]:
        ((boxes, scores),) = detector([read_record_image(images, record)], min_score)
        for (x1, y1, x2, y2), score in zip(np.asarray(boxes), np.asarray(scores), strict=True):
            box = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
            found = {"image_id": record["id"], "category_id": 1, "bbox": box, "score": float(score)}
            results.append(found)
    return results


def read_hard_negatives(
    annotations: Path,
    images: Path,
    *,
    detections: Path,
    min_score: float = 0.5,
    weight: float = 1.0,
    broken: Broken = "refuse",
    skeleton: Skeleton = COCO17,
) -> list[Person]:
    """Read the detections that show nobody, as people whose heatmaps are zero everywhere.

    annotations: COCO JSON with the boxes of all people, those without keypoints and crowds
    included; images with ``boxes_complete`` false are left out. detections: a list in COCO's
    results format (``image_id``, ``bbox``, ``score``). A detection counts from ``min_score`` on and
    when it has no pixel in common with any person's box. All keypoints have ``weight``.
    """
    skip = broken == "skip"
    data = load_annotations(annotations, need_keypoints=False, lenient=skip)
    category = person_category(data)
    records = {r["id"]: r for r in data["images"] if r.get("boxes_complete") is not False}
    people: dict[Any, list[list[float]]] = {}
    for annotation in data["annotations"]:
        if is_person(annotation, category):
            if not is_finite(annotation.get("bbox"), 4):
                report = f"Annotation {annotation.get('id')} of {annotations} has no usable bbox"
                report_broken(report, broken)
                # Nobody knows where this person is, so nothing in the image is surely empty.
                records.pop(annotation["image_id"], None)
                continue
            people.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    negatives = []
    for number, detection in enumerate(load_detections(detections, lenient=skip)):
        if not of_people(detection, category):
            continue
        if not (is_finite(detection.get("bbox"), 4) and is_finite([detection.get("score")], 1)):
            report_broken(f"Detection {number} (from 0) of {detections} is malformed", broken)
            continue
        record = records.get(detection.get("image_id"))
        box = detection["bbox"]
        if record is None or detection["score"] < min_score or min(box[2:]) <= 0:
            continue
        if any(_intersect(box, person) for person in people.get(record["id"], [])):
            continue
        image = image_path(images, record)
        if not image.is_file():
            report_broken(f"The image with id {record['id']} is not in {images}", broken)
            continue
        negatives.append(_negative(image, record, box, weight, len(skeleton)))
    log.info("%s: %d hard negatives", detections, len(negatives))
    return negatives


def _intersect(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (x, y, w, h) have an area in common."""
    return all(min(a[i] + a[i + 2], b[i] + b[i + 2]) > max(a[i], b[i]) for i in (0, 1))


def _negative(
    image: Path, record: Mapping[str, Any], box: Sequence[float], weight: float, count: int
) -> Person:
    x, y, width, height = map(float, box)
    # Keypoints outside a crop have weight 0: the box's centre is always inside.
    centre = np.full((count, 2), [x + width / 2, y + height / 2])
    corners = np.array([x, y, x + width, y + height])
    targets = np.zeros(count), np.full(count, weight)
    size = image_size(record)
    return Person(image, record["id"], corners, centre, *targets, image_size=size)
