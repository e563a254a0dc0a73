"""People's boxes from detection files in COCO's results format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import is_finite
from pcr_rt.errors import DataError

__all__ = ["boxes_by_image", "load_detections", "of_people"]


def load_detections(path: str | Path) -> list[dict[str, Any]]:
    """The records of a detection file: ``image_id``, ``bbox`` (x, y, w, h), ``score`` and more.

    Raises DataError where the file is missing, is not JSON or holds no list of records.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"The detection file {path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"The detection file {path} cannot be read as JSON: {error}.") from None
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise DataError(f"{path} holds no detections: give a list in COCO's results format.")
    return data


def of_people(detection: Mapping[str, Any], category: Any) -> bool:
    """Whether a detection is of a person: category 1, as COCO has it, or that of the annotations.

    Records without a category are of people.
    """
    return detection.get("category_id", 1) in (1, category)


def boxes_by_image(path: str | Path, category: Any) -> dict[Any, NDArray[np.float64]]:
    """The people's boxes of each image, (N, 5) as x1, y1, x2, y2, score, in the file's order.

    category: that of people in the annotations. Boxes without area are left out. Raises DataError
    as ``load_detections`` does, and for a malformed record.
    """
    found: dict[Any, list[list[float]]] = {}
    for number, detection in enumerate(load_detections(path)):
        if not of_people(detection, category):
            continue
        box, score = detection.get("bbox"), detection.get("score")
        if not (is_finite(box, 4) and is_finite([score], 1) and "image_id" in detection):
            raise DataError(
                f"Detection {number} (from 0) of {path} is malformed: it needs an 'image_id', a"
                " 'bbox' of 4 finite numbers and a 'score'."
            )
        x, y, width, height = (float(v) for v in detection["bbox"])
        if min(width, height) > 0:
            row = [x, y, x + width, y + height, float(detection["score"])]
            found.setdefault(detection["image_id"], []).append(row)
    return {image: np.array(rows) for image, rows in found.items()}
