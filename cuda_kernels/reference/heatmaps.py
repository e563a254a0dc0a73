"""Decode a pose network's outputs to keypoints in frame pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pcr_rt.geometry import apply_transform

__all__ = [
    "DecodeMethod",
    "decode_heatmaps",
    "decode_simcc",
    "smoothing_kernels",
    "smoothing_radius",
]

DecodeMethod = Literal["none", "quarter", "dark"]

Maps = NDArray[np.floating[Any]]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.intp]

LOG_FLOOR = 1e-10
MIN_CURVATURE = 1e-4
"""Flatter than this, a peak of log heat is rounding noise; a Gaussian has 1 / (2 sigma^2) or so."""


def decode_heatmaps(
    heatmaps: Maps | Sequence[Maps],
    transforms: Float64,
    *,
    method: DecodeMethod,
    sigma: float = 2.0,
    mirrored: Maps | Sequence[Maps] | None = None,
    flip: Index | None = None,
) -> tuple[Float32, Float32]:
    """Decode keypoints (N, K, 2) in frame pixels, x then y, and their scores (N, K), float32.

    heatmaps: (N, K, h, w) float16 or float32, or several such of an ensemble, which are averaged;
    transforms: (N, 2, 3) from heatmap samples to frame pixels; mirrored: the maps of the mirrored
    input; they are mirrored back, ``flip`` (K,), the index of each keypoint's mirror image, swaps
    left and right, and the mean of both is decoded; sigma: of the Gaussian that the network was
    trained with, in samples. Raises ValueError for mirrored maps without a ``flip`` that fits.

    The score is the map's maximum, the location that of the first maximum in row-major order,
    refined by ``method``:

    - ``none``: as it is;
    - ``quarter``: 0.25 samples towards the higher neighbour on each axis, unless the maximum lies
      on the map's border;
    - ``dark`` (Zhang et al. 2020, "Distribution-aware coordinate representation"): one Newton
      step, at most 1 sample on each axis, on the logarithm of the smoothed map; as ``quarter`` if
      the maximum lies within 2 samples of the border or the smoothed map has no peak there.

    NaN counts as minus infinity; a map without any number has its keypoint at sample (0, 0) with
    score 0.
    """
    maps = _average(heatmaps)
    if mirrored is not None:
        back = _average(mirrored)[..., ::-1]
        if flip is None or len(flip) != back.shape[1]:
            raise ValueError(f"mirrored maps of {back.shape[1]} keypoints need a flip for each")
        maps = (maps + back[:, flip]) / np.float32(2)
    n, k, h, w = maps.shape
    flat = maps.reshape(n * k, h, w)
    index, scores = _first_maximum(flat.reshape(n * k, h * w))
    y, x = np.divmod(index, w)
    samples = np.stack([x, y], axis=1).astype(np.float64)
    if method != "none":
        samples += _quarter_offsets(flat, x, y)
    if method == "dark":
        inside = np.flatnonzero((x >= 2) & (x < w - 2) & (y >= 2) & (y < h - 2))
        step, is_peak = _dark_offsets(flat, inside, x[inside], y[inside], sigma)
        inside = inside[is_peak]
        samples[inside] = np.stack([x[inside], y[inside]], axis=1) + step[is_peak]
    keypoints = apply_transform(transforms, samples.reshape(n, k, 2))
    return keypoints.astype(np.float32), scores.reshape(n, k)


def _average(maps: Maps | Sequence[Maps]) -> Float32:
    if isinstance(maps, np.ndarray):
        return maps.astype(np.float32, copy=False)
    total: Float32 = maps[0].astype(np.float32)
    for other in maps[1:]:
        total += other
    total /= len(maps)
    return total


def _first_maximum(rows: Float32) -> tuple[Index, Float32]:
    """Index and value of the first maximum of each row of (M, L); NaN counts as minus infinity."""
    index = rows.argmax(axis=1)
    values = np.take_along_axis(rows, index[:, None], axis=1)[:, 0]
    # NumPy's argmax stops at a NaN, so a row that holds one is found by its value.
    broken = np.flatnonzero(np.isnan(values))
    if len(broken):
        mended = rows[broken]
        mended[np.isnan(mended)] = -np.inf
        index[broken] = mended.argmax(axis=1)
        values[broken] = mended.max(axis=1)
    values[np.isneginf(values)] = 0
    return index, values


def _quarter_offsets(maps: Float32, x: Index, y: Index) -> Float64:
    """Offsets (M, 2) of 0.25 towards the higher neighbour of samples (x, y) of maps (M, h, w)."""
    h, w = maps.shape[1:]
    offsets = np.zeros((len(maps), 2))
    m = np.flatnonzero((x > 0) & (x < w - 1) & (y > 0) & (y < h - 1))
    x, y = x[m], y[m]
    for axis, low, high in (
        (0, maps[m, y, x - 1], maps[m, y, x + 1]),
        (1, maps[m, y - 1, x], maps[m, y + 1, x]),
    ):
        # Comparisons rather than the sign of a difference: one with NaN is false.
        offsets[m, axis] = 0.25 * (high > low) - 0.25 * (low > high)
    return offsets


def _dark_offsets(
    maps: Float32, m: Index, x: Index, y: Index, sigma: float
) -> tuple[Float64, NDArray[np.bool_]]:
    """Newton steps (P, 2) at samples (x, y), two or more off the border, of ``maps[m]``.

    Also returns whether (P,) the smoothed log map is curved like a peak, so that a step has sense.
    """
    h, w = maps.shape[1:]
    radius = smoothing_radius(sigma)
    kernels = smoothing_kernels(radius)
    reach = np.arange(-2 - radius, 3 + radius)
    rows = (y[:, None] + reach).clip(0, h - 1)
    columns = (x[:, None] + reach).clip(0, w - 1)
    window = maps[m[:, None, None], rows[:, :, None], columns[:, None, :]].astype(np.float64)
    window[~np.isfinite(window)] = 0
    vertical = kernels[np.minimum(np.minimum(y - 2, h - 3 - y), radius)]
    horizontal = kernels[np.minimum(np.minimum(x - 2, w - 3 - x), radius)]
    smooth = vertical @ window @ horizontal.swapaxes(1, 2)
    f = np.log(np.maximum(smooth, LOG_FLOOR))

    dx = (f[:, 2, 3] - f[:, 2, 1]) / 2
    dy = (f[:, 3, 2] - f[:, 1, 2]) / 2
    dxx = (f[:, 2, 4] - 2 * f[:, 2, 2] + f[:, 2, 0]) / 4
    dyy = (f[:, 4, 2] - 2 * f[:, 2, 2] + f[:, 0, 2]) / 4
    dxy = (f[:, 3, 3] - f[:, 1, 3] - f[:, 3, 1] + f[:, 1, 1]) / 4
    flattest = (dxx + dyy) / 2 + np.hypot((dxx - dyy) / 2, dxy)
    is_peak = flattest < -MIN_CURVATURE
    determinant = np.where(is_peak, dxx * dyy - dxy * dxy, 1)
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=1) / determinant[:, None]
    return step.clip(-1, 1), is_peak


def smoothing_radius(sigma: float) -> int:
    """Give the samples that DARK's kernel reaches to either side, for Gaussians of that sigma."""
    return math.ceil(2.5 * sigma)


@lru_cache(maxsize=8)
def smoothing_kernels(radius: int) -> Float64:
    """Give weights (radius + 1, 5, 5 + 2 radius): table r smooths 5 samples with a kernel cut to r.

    The kernel is that of cv2.GaussianBlur with 2 radius + 1 samples and no sigma given. Near a
    border it is cut on both sides alike, to what fits in the map at the outermost of the five:
    a symmetric kernel, the same for all five, leaves a Gaussian's peak where it is, while padding
    with zeros would pull it by up to 0.7 samples (by 0.16 at 4 samples from the border, sigma 3).
    """
    sigma = 0.3 * (radius - 1) + 0.8
    offset = np.arange(5 + 2 * radius) - radius - np.arange(5)[:, None]
    fits = np.abs(offset) <= np.arange(radius + 1)[:, None, None]
    weights: Float64 = np.exp(-(offset**2) / (2 * sigma**2)) * fits
    weights /= weights.sum(axis=-1, keepdims=True)
    weights.setflags(write=False)
    return weights


def decode_simcc(
    simcc_x: Maps, simcc_y: Maps, transforms: Float64, *, split: float = 2.0
) -> tuple[Float32, Float32]:
    """Decode keypoints (N, K, 2) in frame pixels and scores (N, K), float32, of SimCC (RTMPose).

    simcc_x: (N, K, input width * split), simcc_y: (N, K, input height * split), float16 or
    float32; transforms: (N, 2, 3) from model-input pixels to frame pixels. The score is the
    smaller of the two maxima, and 0 if that is negative. Ties and NaN as in
    :func:`decode_heatmaps`.
    """
    n, k, width = simcc_x.shape
    height = simcc_y.shape[2]
    x, score_x = _first_maximum(simcc_x.astype(np.float32, copy=False).reshape(n * k, width))
    y, score_y = _first_maximum(simcc_y.astype(np.float32, copy=False).reshape(n * k, height))
    pixels = np.stack([x, y], axis=1).reshape(n, k, 2) / split
    scores = np.minimum(score_x, score_y).clip(min=0).reshape(n, k)
    return apply_transform(transforms, pixels).astype(np.float32), scores
