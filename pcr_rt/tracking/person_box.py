"""The bounding box of a person, from their keypoints; padded as COCO's labels are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["person_boxes"]

Float = NDArray[np.float64]

LEAST_CONFIDENT = 0.3
"""Share of the keypoints: five of COCO's 17."""
MIN_SPAN = 0.1
"""Keypoints that lie closer together, as a share of the other box's longer side, say nothing."""
SIDES, TOP, BOTTOM = 0.12, 0.10, 0.09
"""Medians of 8,475 people of COCO train2017 with all keypoints labelled: what their box adds to
the keypoints' width on the left and the right, and to their height at the top and the bottom."""
MIN_SIDES = 0.06
"""The sides add at least this share of the height: people seen from the side have a depth."""


def person_boxes(
    keypoints: NDArray[Any], scores: NDArray[Any], otherwise: NDArray[Any], confident: float
) -> Float:
    """Return boxes (N, 4) xyxy around confident keypoints, padded.

    keypoints: (N, K, 2) in pixels; scores: (N, K); otherwise: (N, 4), the box of a person whose
    confident keypoints are fewer than three tenths or lie in one place; confident: score from
    which on a keypoint makes up the box, since others may lie anywhere.
    """
    sure = (scores >= confident)[:, None]
    axes = keypoints.swapaxes(1, 2).copy()  # (N, 2, K): NumPy is slow if the innermost has 2
    low = np.where(sure, axes, np.inf).min(2)
    high = np.where(sure, axes, -np.inf).max(2)
    boxes: Float = np.array(otherwise, np.float64)
    least = MIN_SPAN * (boxes[:, 2:] - boxes[:, :2]).max(1)
    needed = round(LEAST_CONFIDENT * scores.shape[1])
    enough = (sure.sum((1, 2)) >= needed) & ((high - low).max(1) >= least)
    (left, top), (right, bottom) = low[enough].T, high[enough].T
    width, height = right - left, bottom - top
    sides = np.maximum(SIDES * width, MIN_SIDES * height)
    padded = [left - sides, top - TOP * height, right + sides, bottom + BOTTOM * height]
    boxes[enough] = np.array(padded).T
    return boxes
