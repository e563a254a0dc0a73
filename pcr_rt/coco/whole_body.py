"""COCO-WholeBody's annotations: feet, face and hands beside COCO's 17 keypoints of the body.

Jin et al., ECCV 2020; the fields are those of data_format.md in github.com/jin-s13/COCO-WholeBody.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pcr_rt.coco.records import ANNOTATION, check_record
from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17, Skeleton

__all__ = ["has_parts", "whole_body", "with_parts"]

PARTS = {"foot": 6, "face": 68, "lefthand": 21, "righthand": 21}
"""The parts in the order of the skeleton coco_wholebody133, after the body, and their keypoints."""


@cache
def whole_body() -> Skeleton:
    """Load the skeleton that body and parts make together."""
    return Skeleton.load("coco_wholebody133")


def has_parts(annotation: Mapping[str, Any]) -> bool:
    """Tell whether an annotation has fields of COCO-WholeBody."""
    return any(f"{part}_kpts" in annotation for part in PARTS)


def with_parts(annotation: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give an annotation with the whole body's 133 under ``keypoints``.

    A part that is not there, or whose ``..._valid`` is false, counts as unlabelled. where: file and
    record, for messages. Raises DataError for a part of another number of keypoints.
    """
    check = ANNOTATION["keypoints"]
    fields = {f"{part}_kpts": check for part in PARTS}
    record = check_record(annotation, {"keypoints": check, **fields}, where)
    keypoints: list[float] = []
    for key, count in {
        "keypoints": len(COCO17),
        **{f"{p}_kpts": n for p, n in PARTS.items()},
    }.items():
        points = record.get(key) or [0.0] * (3 * count)
        if len(points) != 3 * count:
            raise DataError(
                f"{where} is malformed: {key!r} has {len(points)} numbers, COCO-WholeBody's have"
                f" {3 * count}."
            )
        valid = record.get(key.replace("_kpts", "_valid"), True) or key == "keypoints"
        keypoints += points if valid else [0.0] * (3 * count)
    result = {**annotation, "keypoints": keypoints}
    result.pop("num_keypoints", None)  # it counts the body's alone
    return result
