"""The percentage of correct keypoints (PCK)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import is_labelled, load_annotations, select_images, select_people
from pcr_rt.skeleton import Skeleton

__all__ = ["keypoint_pck"]


def keypoint_pck(
    annotations: str | Path,
    results: Sequence[Mapping[str, Any]],
    skeleton: Skeleton,
    category: str | None = None,
    *,
    fraction: float = 0.1,
) -> float:
    """Give the share of labelled keypoints that a result places within ``fraction`` of the object.

    annotations: a COCO keypoints file; results: COCO results. The size of an object is the longer
    side of its box. In order of score, each result is taken for the object of its image, not taken
    yet, of whose keypoints it places the largest share right; those of an object without a result
    are wrong. Raises DataError as `keypoint_ap` does.
    """
    data = load_annotations(annotations, category=category)
    people = list(filter(is_labelled, select_people(data, select_images(data, None), skeleton)))
    right, free = 0, dict(enumerate(people))
    for result in sorted(results, key=lambda result: -result["score"]):
        found = np.reshape(result["keypoints"], (-1, 3))[:, :2]
        near = {
            index: int(_near(person, found, fraction).sum())
            for index, person in free.items()
            if person["image_id"] == result["image_id"]
        }
        if near:
            best = max(near, key=lambda index: near[index] / free[index]["num_keypoints"])
            if near[best]:
                right += near[best]
                del free[best]
    labelled = sum((np.reshape(p["keypoints"], (-1, 3))[:, 2] > 0).sum() for p in people)
    return float(right / labelled)


def _near(
    person: Mapping[str, Any], found: NDArray[np.float64], fraction: float
) -> NDArray[np.bool_]:
    """Tell which keypoints (K,) of a person are labelled and found within reach."""
    labels = np.reshape(person["keypoints"], (-1, 3))
    distance = np.linalg.norm(labels[:, :2] - found, axis=1)
    near: NDArray[np.bool_] = (labels[:, 2] > 0) & (distance <= fraction * max(person["bbox"][2:]))
    return near
