"""What people wear, in fifteen numbers: colours from head to shins, where the joints say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PATCHES", "describe", "difference", "updated"]

PATCHES = 5
"""Head, chest, waist, thighs and shins."""
HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
ACROSS = (0.15, 0.38, 0.62, 0.85)
"""Of a torso, from its left side to its right one."""

Float = NDArray[np.float64]

FLOOR = 12.0
"""Grey levels added before the logarithm, so that the noise of dark clothes stays small."""
COLOURS = np.array([[1 / 3, 0, 1], [1 / 3, -1, -1], [1 / 3, 1, 0]])
"""From blue, green and red (rows) to brightness, red - green and blue - green."""
SPREAD = np.array([[0.6, 0.18, 0.15], *[[0.25, 0.1, 0.1]] * 4])
"""(5, 3) deviations of one person's patches from themselves a second or three later."""
LEARN = 0.05
"""Share of each new look."""


def _points() -> list[list[dict[str, float]]]:
    """Sample points of each patch as weighted means of keypoints, by name."""
    # Of the head half-way from each keypoint to the middle of all.
    head = [{other: 0.1 + 0.5 * (other == name) for other in HEAD} for name in HEAD]
    chest = [_on_torso(down, across) for down in (0.15, 0.35) for across in ACROSS]
    waist = [_on_torso(down, across) for down in (0.6, 0.8) for across in ACROSS]
    return [head, chest, waist, _on_legs("hip", "knee"), _on_legs("knee", "ankle")]


def _on_torso(down: float, across: float) -> dict[str, float]:
    return {
        "left_shoulder": (1 - down) * (1 - across),
        "right_shoulder": (1 - down) * across,
        "left_hip": down * (1 - across),
        "right_hip": down * across,
    }


def _on_legs(upper: str, lower: str) -> list[dict[str, float]]:
    sides, shares = ("left", "right"), (0.2, 0.5, 0.8)
    return [{f"{s}_{upper}": 1 - down, f"{s}_{lower}": down} for s in sides for down in shares]


@lru_cache
def _weights(names: tuple[str, ...]) -> tuple[Float, Float, Float]:
    """Sample points as weights of keypoints (P, K); which of these points, (P, 5), and of the
    keypoints, (K, 5), belong to each patch, as 0 and 1; none if a skeleton lacks its names.
    """
    rows: list[Float] = []
    of_points: list[Float] = []
    needed = np.zeros((len(names), PATCHES))
    for patch, points in enumerate(_points()):
        used = {name for point in points for name in point}
        if used <= set(names):
            rows += [np.array([point.get(name, 0.0) for name in names]) for point in points]
            of_points += [np.eye(PATCHES)[patch]] * len(points)
            needed[:, patch] = [name in used for name in names]
    return np.array(rows), np.array(of_points), needed


def light(frame: NDArray[np.uint8]) -> Float:
    """The mean (3,) BGR of a frame (H, W, 3), by which its colours are divided."""
    step = max(1, min(frame.shape[:2]) // 24)
    samples = frame[step // 2 :: step, step // 2 :: step].reshape(-1, 3).astype(np.float64)
    mean: Float = np.full(len(samples), 1 / len(samples)) @ samples  # faster than mean(0)
    return mean


def describe(
    frame: NDArray[np.uint8],
    keypoints: NDArray[Any],
    scores: NDArray[Any],
    visible: float,
    names: Sequence[str],
) -> Float:
    """Describe each person from head to shins: brightness and two colours of patches, (N, 5, 3).

    frame: (H, W, 3) uint8 BGR; keypoints: (N, K, 2) in its pixels; scores: (N, K); visible: mean
    score from which on keypoints say where a patch is; names: of the K keypoints. Logarithms of
    ratios to the frame's mean colour, so that a camera that changes its exposure or white balance
    changes nothing. Points that lie on somebody else are left out. NaN for a patch that is not in
    view, half of which lies on others, or whose keypoints the skeleton lacks.
    """
    weights, patches, needed = _weights(tuple(names))
    if not len(weights):
        return np.full((len(keypoints), PATCHES, 3), np.nan)
    height, width = frame.shape[:2]
    # (2, N, P): NumPy is slow where the innermost dimension is 2.
    places = np.rint(np.moveaxis(keypoints, -1, 0) @ weights.T)
    points = places.clip(-1, max(height, width)).astype(np.intp)
    x, y = points
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    free = (~_on_others(points)).astype(np.float64)
    samples = frame[y.clip(0, height - 1), x.clip(0, width - 1)]
    logs = np.log((samples + FLOOR) / (light(frame) + FLOOR))
    left, size = free @ patches, patches.sum(0)
    seen = (scores @ needed >= visible * needed.sum(0)) & (left > size / 2)
    seen &= inside @ patches == size
    sums = patches.T @ (logs * free[..., None])  # (N, 5 patches, 3 colours)
    found: Float = sums / np.maximum(left, 1)[..., None] @ COLOURS
    found[~seen] = np.nan
    return found


def _on_others(points: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which points (2, N, P) lie in the box around the points of somebody else, (N, P)."""
    low, high = points.min(2), points.max(2)
    meet = ((low[:, :, None] <= high[:, None]) & (low[:, None] <= high[:, :, None])).all(0)
    np.fill_diagonal(meet, False)
    covered = np.zeros(points.shape[1:], dtype=bool)
    one, other = np.nonzero(meet)
    if len(one):
        own, low, high = points[:, one], low[:, other, None], high[:, other, None]
        inside = ((low <= own) & (own <= high)).all(0)
        people, starts = np.unique(one, return_index=True)
        covered[people] = np.logical_or.reduceat(inside, starts)
    return covered


def difference(known: Float, found: Float) -> Float:
    """How unlike (n, m) known people (n, 5, 3) and found ones (m, 5, 3) are, in deviations.

    Root mean square over the patches that both show; NaN if they share none.
    """
    one, other = ((looks / SPREAD).reshape(-1, SPREAD.size).T.copy() for looks in (known, found))
    apart = np.square(one[:, :, None] - other[:, None])  # (15, n, m)
    both = np.isfinite(apart)
    with np.errstate(invalid="ignore"):  # 0 / 0: no patch is shared
        unlike: Float = np.sqrt(np.where(both, apart, 0).sum(0) / both.sum(0))
    return unlike


def updated(known: Float, found: Float) -> Float:
    """The appearance of a person (5, 3) after one more look at them, slowly."""
    learnt = known + LEARN * (found - known)
    return np.where(np.isnan(known), found, np.where(np.isnan(found), known, learnt))
