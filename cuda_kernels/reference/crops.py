"""Make network inputs of frames: one crop a person, one letterboxed image a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pcr_rt.frames import Nv12Frame
from pcr_rt.geometry import Size

__all__ = ["crop_persons", "letterbox"]

Frame = NDArray[np.uint8]
Images = NDArray[Any]
Float32 = NDArray[np.float32]


class _Taps(NamedTuple):
    """The two pixels that each position along one axis lies between, and their weights."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    low_weight: Float32
    high_weight: Float32


def _taps(positions: NDArray[np.float64], limit: int) -> _Taps:
    """Taps for an axis of ``limit`` pixels; a pixel outside has weight 0 and some valid index."""
    # Everything beyond one pixel outside is zero alike, and an index must fit its type.
    positions = positions.clip(-1, limit)
    low = np.floor(positions).astype(np.intp)
    fraction = (positions - low).astype(np.float32)
    return _Taps(
        low.clip(0, limit - 1),
        (low + 1).clip(0, limit - 1),
        np.where((low >= 0) & (low < limit), 1 - fraction, np.float32(0)),
        np.where(low + 1 < limit, fraction, np.float32(0)),
    )


def crop_persons(
    frames: Sequence[Frame | Nv12Frame],
    frame_index: NDArray[np.intp],
    transforms: NDArray[np.float64],
    size: Size,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    rgb: bool = True,
    dtype: DTypeLike = np.float32,
) -> Images:
    """Crop people by bilinear interpolation: (N, 3, h, w), normalised as (grey - mean) / std.

    frames: (H, W, 3) uint8 in BGR order, any strides, or :class:`Nv12Frame`; sizes may differ;
    frame_index: (N,) the frame of each crop; transforms: (N, 2, 3) from crop pixels to frame
    pixels; size: (w, h) of a crop; mean, std: (3,) in grey levels and in the order of the
    output's channels, which is RGB if ``rgb`` and BGR otherwise.

    Coordinates are float64 and are not rounded to a grid, grey levels are not rounded to integers:
    with dtype float32 the result is within 0.001 grey levels of bilinear interpolation in float64.
    Each of the four neighbours that lies outside the frame counts as black, before normalisation.
    """
    width, height = size
    scale = 1 / np.asarray(std, dtype=np.float32)[:, None, None]
    shift = -np.asarray(mean, dtype=np.float32)[:, None, None] * scale
    crops = np.empty((len(transforms), 3, height, width), dtype=np.float32)
    images = [_bgr(frame) for frame in frames]
    for crop, index, matrix in zip(crops, frame_index, transforms, strict=True):
        upright = matrix[0, 1] == 0 and matrix[1, 0] == 0
        sample = _sample_upright if upright else _sample_turned
        sample(images[index], matrix, crop[::-1] if rgb else crop)
        crop *= scale
        crop += shift
    return crops.astype(dtype, copy=False)


def _bgr(frame: Frame | Nv12Frame) -> NDArray[Any]:
    return frame.to_bgr() if isinstance(frame, Nv12Frame) else frame


def _sample_upright(frame: NDArray[Any], matrix: NDArray[np.float64], out: Float32) -> None:
    """Fill ``out`` (3, h, w) in BGR order, if x depends on u alone and y on v alone.

    Rows are blended first, columns then, which is several times faster than gathering the four
    neighbours of each pixel. OpenCV's own functions round their result to integers, and before
    version 5 the coordinates to 1/32 pixel, which costs whole grey levels at edges.
    """
    height, width = out.shape[1:]
    columns = _taps(matrix[0, 0] * np.arange(width) + matrix[0, 2], frame.shape[1])
    rows = _taps(matrix[1, 1] * np.arange(height) + matrix[1, 2], frame.shape[0])
    left, right = columns.low.min(), columns.high.max() + 1
    strip = frame[:, left:right]
    above = cv2.split(strip[rows.low])
    below = cv2.split(strip[rows.high])
    for channel in range(3):
        blended = above[channel].astype(np.float32)
        blended *= rows.low_weight[:, None]
        lower = below[channel].astype(np.float32)
        lower *= rows.high_weight[:, None]
        blended += lower
        np.take(blended, columns.low - left, axis=1, out=out[channel], mode="clip")
        out[channel] *= columns.low_weight
        high = np.take(blended, columns.high - left, axis=1, mode="clip")
        high *= columns.high_weight
        out[channel] += high


def _sample_turned(frame: NDArray[Any], matrix: NDArray[np.float64], out: Float32) -> None:
    """Fill ``out`` (3, h, w) in BGR order for any affine ``matrix``; frame sides below 2^15."""
    v, u = np.indices(out.shape[1:], dtype=np.float64)
    columns = _taps(matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2], frame.shape[1])
    rows = _taps(matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2], frame.shape[0])
    unused = np.empty(0, dtype=np.uint16)
    out[:] = 0
    for row, row_weight in ((rows.low, rows.low_weight), (rows.high, rows.high_weight)):
        for column, column_weight in (
            (columns.low, columns.low_weight),
            (columns.high, columns.high_weight),
        ):
            weight = row_weight * column_weight
            # Integer coordinates make remap a plain gather, much faster than NumPy's.
            pixels = np.stack([column, row], axis=-1).astype(np.int16)
            gathered = cv2.remap(frame, pixels, unused, cv2.INTER_NEAREST)
            for blended, plane in zip(out, cv2.split(gathered), strict=True):
                blended += plane * weight


def letterbox(
    frames: Sequence[Frame | Nv12Frame],
    size: Size,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    fill: float = 114.0,
    rgb: bool = False,
    dtype: DTypeLike = np.float32,
) -> tuple[Images, NDArray[np.float64]]:
    """Resize whole frames to fit ``size`` = (w, h) with their aspect kept; give their scales too.

    Returns images (B, 3, h, w), normalised as (grey - mean) / std, and scales (B,): an input
    pixel divided by its scale is a frame pixel. The frame lies at the top left, the rest is grey
    level ``fill``. Frames, ``mean``, ``std`` and ``rgb`` as in :func:`crop_persons`.

    Pixels are sampled as cv2.resize with INTER_LINEAR does (half-pixel centres, grey levels
    rounded to integers), which is within 1 grey level of bilinear interpolation in float64.
    """
    width, height = size
    images = np.full((len(frames), 3, height, width), fill, dtype=np.float32)
    scales = np.empty(len(frames))
    for i, frame in enumerate(frames):
        frame_height, frame_width = frame.shape[:2]
        scales[i] = min(width / frame_width, height / frame_height)
        target_width = max(round(frame_width * scales[i]), 1)
        target_height = max(round(frame_height * scales[i]), 1)
        resized = cv2.resize(
            _bgr(frame), (target_width, target_height), interpolation=cv2.INTER_LINEAR
        )
        image = images[i, ::-1] if rgb else images[i]
        image[:, :target_height, :target_width] = cv2.split(resized)
    images -= np.asarray(mean, dtype=np.float32)[:, None, None]
    images /= np.asarray(std, dtype=np.float32)[:, None, None]
    return images.astype(dtype, copy=False), scales
