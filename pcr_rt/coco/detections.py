"""People's boxes from detection files in COCO's results format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.records import DETECTION, check_record, load_json, shown
from pcr_rt.errors import DataError

__all__ = ["boxes_by_image", "load_detections", "of_people"]


def load_detections(path: str | Path, *, lenient: bool = False) -> list[dict[str, Any]]:
    """Load a detection file's records: ``image_id``, ``bbox`` (x, y, w, h), ``score`` and more.

    lenient: malformed records come as they are, for readers that skip such ones. Raises DataError
    if the file is missing, is not JSON, holds no list of records or a malformed one.
    """
    data = load_json(path, "detection file")
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise DataError(f"{path} holds no detections: give a list in COCO's results format.")
    records = []
    for number, entry in enumerate(data):
        try:
            where = f"{path}: detection {number} (from 0)"
            records.append(check_record(entry, DETECTION, where, "image_id", "bbox", "score"))
        except DataError:
            if not lenient:
                raise
            records.append(entry)
    return records


def of_people(detection: Mapping[str, Any], category: frozenset[Any] | None) -> bool:
    """Tell whether a detection is of a person: of the annotations' own categories of people.

    Annotations without categories hold people only, and category 1 is theirs, as in COCO. Records
    without a category are of people.
    """
    own = detection.get("category_id")
    return own is None or own in (category or (1,))


def boxes_by_image(
    path: str | Path, category: frozenset[Any] | None, images: Container[Any] | None = None
) -> dict[Any, NDArray[np.float64]]:
    """Collect the people's boxes of each image, (N, 5) as x1, y1, x2, y2, score, in their order.

    category: those of people in the annotations. images: the ids that the annotations list. Boxes
    without area are left out. Raises DataError as ``load_detections`` does, and if no detection is
    of people or of these images.
    """
    records = load_detections(path)
    people = [record for record in records if of_people(record, category)]
    if records and not people:
        counts = Counter(record["category_id"] for record in records)
        common = counts.most_common(5)
        has = ", ".join(f"{number} of category {shown(str(key))}" for key, number in common)
        wanted = ", ".join(map(str, sorted(category or (1,), key=str)))
        raise DataError(f"{path} holds {has}, but people are category {wanted} of the annotations.")
    if images is not None and people and not any(r["image_id"] in images for r in people):
        others = {record["image_id"] for record in people}
        raise DataError(
            f"{path} holds {len(people)} detections on {len(others)} images, such as"
            f" {shown(str(min(others, key=str)))}, none of which the annotations list."
        )
    found: dict[Any, list[list[float]]] = {}
    for record in people:
        x, y, width, height = record["bbox"]
        if min(width, height) > 0:
            row = [x, y, x + width, y + height, record["score"]]
            found.setdefault(record["image_id"], []).append(row)
    return {image: np.array(rows) for image, rows in found.items()}
