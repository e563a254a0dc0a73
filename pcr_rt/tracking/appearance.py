"""What people wear, in nine numbers: the colours of the head, torso and thighs that joints name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PATCHES", "describe", "difference", "updated"]

PATCHES = 3
"""Head, torso and thighs."""
HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")

Float = NDArray[np.float64]

FLOOR = 12.0
"""Grey levels added before the logarithm, so that the noise of dark clothes stays small."""
SPREAD = np.array([[0.6, 0.18, 0.15], [0.25, 0.1, 0.1], [0.25, 0.1, 0.1]])
"""(3, 3) deviations of one person's patches from themselves a second or three later."""
FAR = 1 << 30
LEARN = 0.05
"""Share of each new look."""


def _points() -> list[list[dict[str, float]]]:
    """Sample points of each patch as weighted means of keypoints, by name."""
    # Of the head half-way from each keypoint to the middle of all.
    head = [{other: 0.1 + 0.5 * (other == name) for other in HEAD} for name in HEAD]
    torso, thighs = [], []
    for down in (0.15, 0.35, 0.55, 0.75):
        for across in (0.15, 0.38, 0.62, 0.85):
            torso.append(
                {
                    "left_shoulder": (1 - down) * (1 - across),
                    "right_shoulder": (1 - down) * across,
                    "left_hip": down * (1 - across),
                    "right_hip": down * across,
                }
            )
    for side in ("left", "right"):
        for down in (0.2, 0.35, 0.5, 0.65, 0.8):
            thighs.append({f"{side}_hip": 1 - down, f"{side}_knee": down})
    return [head, torso, thighs]


@lru_cache(maxsize=8)
def _weights(names: tuple[str, ...]) -> tuple[Float, list[slice], list[list[int]]]:
    """Sample points (P, K), each patch's rows and keypoints; none if a skeleton lacks its names."""
    rows: list[Float] = []
    patches, needed = [], []
    for points in _points():
        known = points if {name for point in points for name in point} <= set(names) else []
        patches.append(slice(len(rows), len(rows) + len(known)))
        rows += [np.array([point.get(name, 0.0) for name in names]) for point in known]
        needed.append([i for i, name in enumerate(names) if any(name in p for p in known)])
    return np.array(rows).reshape(-1, len(names)), patches, needed


def light(frame: NDArray[np.uint8]) -> Float:
    """The mean (3,) BGR of a frame (H, W, 3), by which its colours are divided."""
    step = max(1, min(frame.shape[:2]) // 24)
    mean: Float = frame[step // 2 :: step, step // 2 :: step].reshape(-1, 3).mean(0, np.float64)
    return mean


def describe(
    frame: NDArray[np.uint8],
    keypoints: NDArray[Any],
    scores: NDArray[Any],
    visible: float,
    names: Sequence[str],
) -> Float:
    """Head, torso and thighs of each person: brightness and two colours, (N, 3, 3).

    frame: (H, W, 3) uint8 BGR; keypoints: (N, K, 2) in its pixels; scores: (N, K); visible: mean
    score from which on keypoints say where a patch is; names: of the K keypoints. Logarithms of
    ratios to the frame's mean colour, so that a camera that changes its exposure or white balance
    changes nothing. Points that lie on somebody else are left out. NaN for a patch that is not in
    view, half of which lies on others, or whose keypoints the skeleton lacks.
    """
    weights, patches, needed_keypoints = _weights(tuple(names))
    height, width = frame.shape[:2]
    points = np.rint(weights @ keypoints).clip(-1, max(height, width)).astype(np.intp)
    x, y = points[..., 0], points[..., 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    free = ~_on_others(points)
    samples = frame[y.clip(0, height - 1), x.clip(0, width - 1)]
    logs = np.log((samples + FLOOR) / (light(frame) + FLOOR))
    found = np.full((len(keypoints), PATCHES, 3), np.nan)
    for patch, (rows, needed) in enumerate(zip(patches, needed_keypoints, strict=True)):
        if not needed:
            continue
        seen = (scores[:, needed].mean(1) >= visible) & inside[:, rows].all(1)
        seen &= free[:, rows].mean(1) > 0.5
        own = free[seen, rows, None]
        blue, green, red = (logs[seen, rows] * own).sum(1).T / own.sum(1).T
        found[seen, patch] = np.stack([(blue + green + red) / 3, red - green, blue - green], 1)
    return found


def _on_others(points: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which points (N, P, 2) lie in the box around the points of somebody else, (N, P)."""
    low, high = points.min(1, initial=FAR), points.max(1, initial=-FAR)
    meet = ((low[:, None] <= high) & (low <= high[:, None])).all(-1)
    np.fill_diagonal(meet, False)
    covered = np.zeros(points.shape[:2], dtype=bool)
    for person in np.flatnonzero(meet.any(1)).tolist():
        others, own = meet[person], points[person][:, None]
        inside = ((low[others] <= own) & (own <= high[others])).all(-1)
        covered[person] = inside.any(1)
    return covered


def difference(known: Float, found: Float) -> Float:
    """How unlike (n, m) known people (n, 3, 3) and found ones (m, 3, 3) are, in deviations.

    Root mean square over the patches that both show; NaN if they share none.
    """
    apart = (((known[:, None] - found[None]) / SPREAD) ** 2).mean(-1)
    both = np.isfinite(apart)
    total = np.where(both, apart, 0).sum(-1)
    count = both.sum(-1)
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def updated(known: Float, found: Float) -> Float:
    """The appearance of a person (3, 3) after one more look at them, slowly."""
    learnt = known + LEARN * (found - known)
    return np.where(np.isnan(known), found, np.where(np.isnan(found), known, learnt))
