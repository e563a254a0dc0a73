"""The COCO-17 skeleton: keypoint names, mirror pairs, limbs and the terms of OKS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FLIP",
    "KEYPOINTS",
    "LIMBS",
    "NUM_KEYPOINTS",
    "SIGMAS",
    "UPPER_BODY",
    "keypoint_similarity",
    "slots_by_name",
]

KEYPOINTS: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
NUM_KEYPOINTS = len(KEYPOINTS)


def _mirror(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    side, _, rest = name.partition("_")
    return f"{swap[side]}_{rest}" if side in swap else name


FLIP: NDArray[np.intp] = np.array([KEYPOINTS.index(_mirror(n)) for n in KEYPOINTS])
"""(17,) index of each keypoint's mirror image: ``keypoints[FLIP]`` swaps left and right."""

SIGMAS: NDArray[np.float64] = (
    np.array(
        [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], dtype=np.float64
    )
    / 1000
)
"""(17,) OKS standard deviation of each keypoint, as a fraction of the object's scale (COCO)."""

UPPER_BODY: NDArray[np.bool_] = np.arange(NUM_KEYPOINTS) < KEYPOINTS.index("left_hip")
"""(17,) True for head and arms: the two halves of the half-body augmentation."""

LIMBS: tuple[tuple[int, int], ...] = tuple(
    (KEYPOINTS.index(a), KEYPOINTS.index(b))
    for a, b in (
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
        ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_wrist"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("left_hip", "right_hip"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"),
        ("right_hip", "right_knee"),
        ("right_knee", "right_ankle"),
    )
)


def keypoint_similarity(
    a: ArrayLike, b: ArrayLike, area: ArrayLike, sigmas: NDArray[np.float64] = SIGMAS
) -> NDArray[np.float64]:
    """Give the term (..., K) of each keypoint in COCO's OKS: exp(-d^2 / (2 area (2 sigma)^2)).

    a, b: (..., K, 2) keypoints in pixels, and area (...) of the objects in square pixels, all
    broadcast against each other; sigmas: (K,) as fractions of the object's scale. The mean over
    the keypoints is the OKS. As COCO's code does, the smallest float is added to the area, so an
    object without area is like nothing but itself.
    """
    squared = np.square(np.subtract(a, b, dtype=np.float64)).sum(axis=-1)
    size = np.asarray(area, dtype=np.float64)[..., None] + np.spacing(1)
    terms: NDArray[np.float64] = np.exp(-squared / (2 * (2 * sigmas) ** 2) / size)
    return terms


def slots_by_name(names: Sequence[str]) -> NDArray[np.intp]:
    """Give the index of each of ``names`` among the COCO-17 keypoints; -1 for those of others."""
    return np.array([KEYPOINTS.index(n) if n in KEYPOINTS else -1 for n in names], dtype=np.intp)
