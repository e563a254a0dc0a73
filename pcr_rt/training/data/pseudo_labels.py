"""People labelled by a teacher: of its keypoints only the sure ones are kept, as hard labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pcr_rt.coco.annotations import load_annotations
from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.coco import people_of
from pcr_rt.training.data.person import Broken, Person

__all__ = ["read_pseudo_labels"]


def read_pseudo_labels(
    annotations: Path,
    images: Path,
    *,
    min_score: float = 0.5,
    weight: float = 1.0,
    min_keypoints: int = 1,
    broken: Broken = "refuse",
    skeleton: Skeleton = COCO17,
) -> list[Person]:
    """Read the people with ``min_keypoints`` keypoints whose score is at least ``min_score``.

    annotations: COCO JSON whose annotations carry ``keypoint_scores``. Keypoints below
    ``min_score`` count as unlabelled, the others like labels made by hand: amplitude 1. To learn
    the teacher's scores as amplitudes, read the same file as a COCO one. Errors are those of
    ``people_of``.
    """
    data = load_annotations(annotations, lenient=broken == "skip")
    people = []
    for annotation in data["annotations"]:
        if annotation.get("iscrowd") or "keypoints" not in annotation:
            continue
        scores = annotation.get("keypoint_scores")
        if scores is None:
            raise DataError(
                f"Annotation {annotation.get('id')} of {annotations} has no 'keypoint_scores': it"
                " is no pseudo-label, read it with format coco."
            )
        people.append(_sure(annotation, scores, min_score))
    return people_of(
        {**data, "annotations": people},
        annotations,
        images,
        weight=weight,
        min_keypoints=min_keypoints,
        broken=broken,
        skeleton=skeleton,
    )


def _sure(annotation: dict[str, Any], scores: list[float], min_score: float) -> dict[str, Any]:
    """Set v = 0 for keypoints whose score is too low; a malformed annotation is left as it is."""
    rest = {key: value for key, value in annotation.items() if key != "keypoint_scores"}
    try:
        label = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        label[~(np.asarray(scores, dtype=np.float64) >= min_score), 2] = 0
    except (IndexError, KeyError, TypeError, ValueError):
        return {**rest, "keypoints": None}
    return {**rest, "keypoints": label.ravel().tolist()}
