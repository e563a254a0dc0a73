"""Which of the people found is which of those known: weighted OKS and assignment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.skeleton import keypoint_similarity

__all__ = ["assign", "cross_oks"]

Float = NDArray[np.floating[Any]]


def cross_oks(
    known: Float,
    known_scores: Float,
    found: Float,
    found_scores: Float,
    areas: Float,
    tolerance: Float,
) -> NDArray[np.float64]:
    """Give the OKS (n, m) of n known people with m found ones; keypoints count by their scores.

    known: (n, 17, 2) and found: (m, 17, 2) in frame pixels; their scores (n, 17), (m, 17); areas:
    (n, m) in square pixels; tolerance: (n,) factor on COCO's sigmas. A keypoint's weight is the
    product of its two scores; pairs without any weight have OKS 0.
    """
    spread = areas * tolerance[:, None] ** 2  # as if the sigmas were larger
    similarity = keypoint_similarity(known[:, None], found[None], spread)
    weights = known_scores[:, None] * found_scores[None]
    oks: NDArray[np.float64] = (similarity * weights).sum(-1) / weights.sum(-1).clip(min=1e-9)
    return oks


def assign(similarity: Float, threshold: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of a similarity (n, m), best first, each row and column at most once.

    Only pairs of at least ``threshold``; equal ones in row-major order.
    """
    pairs: list[tuple[int, int]] = []
    if similarity.size == 0:
        return pairs
    rows, columns = np.nonzero(similarity >= threshold)
    order = np.argsort(-similarity[rows, columns], kind="stable")
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            pairs.append((row, column))
    return pairs
