"""People from AI Challenger's keypoint track, read from its official JSON.

Wu et al., "Large-scale Datasets for Going Deeper in Image Understanding" (2017). Of the 14 joints
12 are COCO's; head top and neck are not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.coco import people_of
from pcr_rt.training.data.person import Broken, Person, report_broken

__all__ = ["AI_CHALLENGER_KEYPOINTS", "read_ai_challenger"]

AI_CHALLENGER_KEYPOINTS = (
    *("right_shoulder", "right_elbow", "right_wrist"),
    *("left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle"),
    *("left_hip", "left_knee", "left_ankle"),
    *("head_top", "neck"),
)

# AI Challenger: 1 visible, 2 hidden, 3 not in the image. COCO: 2 visible, 1 hidden, 0 unlabelled.
_VISIBILITY = {1: 2, 2: 1, 3: 0}


def read_ai_challenger(
    annotations: Path,
    images: Path,
    *,
    weight: float = 1.0,
    min_keypoints: int = 1,
    broken: Broken = "refuse",
    skeleton: Skeleton = COCO17,
) -> list[Person]:
    """Read the people of an official file who have ``min_keypoints`` keypoints of ``skeleton``.

    annotations: a list of records with ``image_id`` (the image's name without .jpg),
    ``human_annotations`` (person -> box xyxy) and ``keypoint_annotations`` (person -> 14 x (x, y,
    v)). A broken record is reported with its id and refused (DataError) or skipped.
    """
    try:
        records = json.loads(annotations.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{annotations} cannot be read as JSON: {error}.") from None
    if not isinstance(records, list):
        raise DataError(f"{annotations} is not AI Challenger's: it must be a list of images.")
    listed, people = [], []
    for number, record in enumerate(records):
        try:
            name = str(record["image_id"])
            in_image = [
                _annotation(name, human, record["human_annotations"][human], keypoints)
                for human, keypoints in record["keypoint_annotations"].items()
            ]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            which = record.get("image_id") if isinstance(record, dict) else None
            where = f"Record {number} (from 0, image {which}) of {annotations}"
            report_broken(f"{where} is malformed ({error!r})", broken)
            continue
        listed.append({"id": name, "file_name": f"{name}.jpg"})
        people += in_image
    return people_of(
        {"images": listed, "annotations": people},
        annotations,
        images,
        weight=weight,
        min_keypoints=min_keypoints,
        names=AI_CHALLENGER_KEYPOINTS,
        broken=broken,
        skeleton=skeleton,
    )


def _annotation(image: str, human: str, box: list[float], keypoints: list[Any]) -> Any:
    """Convert a person to a COCO annotation; the reader reports a list too short."""
    x1, y1, x2, y2 = box
    coco = list(keypoints)
    coco[2::3] = [_VISIBILITY[v] for v in coco[2::3]]
    return {
        "id": f"{image}/{human}",
        "image_id": image,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "keypoints": coco,
    }
