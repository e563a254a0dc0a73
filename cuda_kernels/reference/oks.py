"""Object keypoint similarity (OKS) between people, and suppression by it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pcr_rt.skeleton import COCO17, keypoint_similarity

__all__ = ["SuppressMethod", "oks_nms", "pairwise_oks"]

SuppressMethod = Literal["hard", "soft"]

Float = NDArray[np.floating[Any]]

SOFT_MAX_PEOPLE = 20
"""Soft suppression keeps at most as many people as COCO counts in an image."""


def pairwise_oks(
    keypoints: Float, areas: Float, sigmas: NDArray[np.float64] = COCO17.sigma_array
) -> NDArray[np.float64]:
    """Give the OKS (n, n) of each pair of people: 1 if all keypoints coincide, 0 if none is near.

    keypoints: (n, K, 2) in frame pixels; areas: (n,) in square pixels, of which a pair takes the
    mean; sigmas: (K,) as fractions of the object's scale.
    """
    area = (areas[:, None].astype(np.float64) + areas[None]) / 2
    terms = keypoint_similarity(keypoints[:, None], keypoints[None], area, sigmas)
    oks: NDArray[np.float64] = terms.mean(axis=-1)
    return oks


def oks_nms(
    keypoints: Float,
    scores: Float,
    areas: Float,
    *,
    sigmas: NDArray[np.float64] = COCO17.sigma_array,
    method: SuppressMethod,
    threshold: float = 0.9,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Suppress people by OKS: give the indices (m,) of those to keep, and their scores, float32.

    keypoints: (n, K, 2); scores: (n,), of which equal ones keep their order; areas: (n,); sigmas:
    (K,). In order of score:

    - ``hard``: whoever has an OKS above ``threshold`` with somebody kept is dropped;
    - ``soft`` (after Bodla et al. 2017, Gaussian): with each person kept, the scores of the rest
      are multiplied by exp(-OKS^2 / threshold) and ordered anew; ends with 20 kept. The scores
      returned are the lowered ones.
    """
    oks = pairwise_oks(keypoints, areas, sigmas)
    remaining = scores.astype(np.float64)
    order = np.argsort(-remaining, kind="stable")
    keep: list[np.intp] = []
    while len(order) and not (method == "soft" and len(keep) == SOFT_MAX_PEOPLE):
        best, order = order[0], order[1:]
        keep.append(best)
        if method == "hard":
            order = order[oks[best, order] <= threshold]
        else:
            remaining[order] *= np.exp(-(oks[best, order] ** 2) / threshold)
            order = order[np.lexsort((order, -remaining[order]))]
    kept = np.array(keep, dtype=np.intp)
    return kept, remaining[kept].astype(np.float32)
