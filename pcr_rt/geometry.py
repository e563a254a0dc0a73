"""Boxes, crops and heatmaps: every coordinate formula of the project, once.

Pixels: the centre of the top-left pixel is (0, 0); boxes are xyxy. A *crop transform* is a 2x3
float64 matrix that takes model-input pixels (u, v) to frame pixels (x, y). Two conventions exist:

- ``udp`` (Huang et al. 2020, "The Devil is in the Details"): the crop's first and last pixel
  centres lie on the region's borders, ``x = cx + (u / (W - 1) - 1/2) bw``; heatmap sample ``v``
  lies at input pixel ``v (W - 1) / (w - 1)``.
- ``msra`` (SimpleBaseline, HRNet, PP-TinyPose): ``x = cx + (u / W - 1/2) bw``; heatmap sample
  ``v`` lies at input pixel ``v W / w``.

Reading maps of one convention with the other costs several AP.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Size",
    "Transform",
    "apply_transform",
    "box_iou",
    "box_to_region",
    "clip_boxes",
    "crop_transform",
    "heatmap_to_input",
    "invert_transform",
    "mirrored_crop",
    "pad_to_aspect",
    "pixel_steps",
]

Transform = Literal["udp", "msra"]
Size = tuple[int, int]
"""(width, height) in pixels."""

Float = NDArray[np.float64]


def box_to_region(boxes: ArrayLike, aspect: float, padding: float = 1.25) -> tuple[Float, Float]:
    """Give the centre and size of the crop region of each box.

    boxes: (N, 4) xyxy. The short side grows to ``aspect`` = width / height, then both sides are
    multiplied by ``padding``. Returns centres (N, 2) and sizes (N, 2) as (width, height), float64.
    """
    xyxy = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    return centre, pad_to_aspect(xyxy[:, 2:] - xyxy[:, :2], aspect) * padding


def pad_to_aspect(size: ArrayLike, aspect: float) -> Float:
    """Grow the short side of sizes (N, 2), (width, height), to ``aspect`` = width / height."""
    width, height = np.asarray(size, dtype=np.float64).reshape(-1, 2).T
    return np.stack([np.maximum(width, height * aspect), np.maximum(height, width / aspect)], 1)


def pixel_steps(size: Size, transform: Transform) -> Float:
    """Count the pixel steps that a region spans: W - 1 under ``udp``, W under ``msra``."""
    return np.array(size, dtype=np.float64) - (transform == "udp")


def crop_transform(
    centre: ArrayLike,
    region: ArrayLike,
    size: Size,
    transform: Transform,
    rotation: ArrayLike = 0.0,
) -> Float:
    """Give the crop transforms (N, 2, 3): model-input pixels to frame pixels.

    centre, region: (N, 2) in frame pixels; size: the model input; rotation: (N,) or scalar, in
    radians, by which the crop window is turned clockwise on the screen.
    """
    centre = np.asarray(centre, dtype=np.float64).reshape(-1, 2)
    region = np.asarray(region, dtype=np.float64).reshape(-1, 2)
    span = pixel_steps(size, transform)
    step = region / span
    angle = np.broadcast_to(np.asarray(rotation, dtype=np.float64), len(centre))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.empty((len(centre), 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1] = cos * step[:, 0], -sin * step[:, 1]
    matrix[:, 1, 0], matrix[:, 1, 1] = sin * step[:, 0], cos * step[:, 1]
    matrix[:, :, 2] = centre - matrix[:, :, :2] @ (span / 2)
    return matrix


def heatmap_to_input(heatmap: Size, size: Size, transform: Transform) -> Float:
    """Give the input pixels per heatmap sample, (2,) as (x, y); sample 0 lies on pixel 0."""
    return pixel_steps(size, transform) / pixel_steps(heatmap, transform)


def mirrored_crop(matrices: Float, size: Size, heatmap: Size, transform: Transform) -> Float:
    """Give the crop transforms whose heatmaps are the exact mirror image of ``matrices``'.

    Input pixel u of the mirrored view shows what pixel ``last - u`` of the plain view shows, where
    ``last`` is the input pixel of the last heatmap column: W - 1 under ``udp``, W - W/w under
    ``msra``.
    """
    last = heatmap_to_input(heatmap, size, transform)[0] * (heatmap[0] - 1)
    mirrored = np.array(matrices, dtype=np.float64)
    mirrored[..., 2] += mirrored[..., 0] * last
    mirrored[..., 0] *= -1
    return mirrored


def apply_transform(matrices: ArrayLike, points: ArrayLike) -> Float:
    """Send points (..., P, 2) through transforms (..., 2, 3)."""
    matrix = np.asarray(matrices, dtype=np.float64)
    xy = np.asarray(points, dtype=np.float64)
    result: Float = xy @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]
    return result


def invert_transform(matrices: ArrayLike) -> Float:
    """Invert transforms (..., 2, 3)."""
    matrix = np.asarray(matrices, dtype=np.float64)
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)


def clip_boxes(boxes: ArrayLike, width: float, height: float) -> Float:
    """Cut boxes (N, 4) xyxy at the frame's borders, [0, width] x [0, height]."""
    xyxy = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    xyxy[:, 0::2] = xyxy[:, 0::2].clip(0, width)
    xyxy[:, 1::2] = xyxy[:, 1::2].clip(0, height)
    return xyxy


def box_iou(a: ArrayLike, b: ArrayLike) -> Float:
    """Give the intersection over union (A, B) of boxes (A, 4) and (B, 4), xyxy; 0 if empty."""
    left, top, right, bottom = np.asarray(a, dtype=np.float64).reshape(-1, 4).T[..., None]
    left_b, top_b, right_b, bottom_b = np.asarray(b, dtype=np.float64).reshape(-1, 4).T
    width = np.minimum(right, right_b) - np.maximum(left, left_b)
    height = np.minimum(bottom, bottom_b) - np.maximum(top, top_b)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (right - left) * (bottom - top) + (right_b - left_b) * (bottom_b - top_b)
    union = areas - intersection
    iou: Float = intersection / np.where(union > 0, union, 1)
    return iou
