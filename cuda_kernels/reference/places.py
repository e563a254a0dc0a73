"""From people's boxes to the places of their crops."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.geometry import (
    Size,
    Transform,
    box_to_region,
    crop_transform,
    heatmap_to_input,
    mirrored_crop,
)

__all__ = ["Places", "place_people"]

NOWHERE = ((0.0, 0.0, -10.0), (0.0, 0.0, -10.0))
"""A crop that lies outside every frame."""


class Places(NamedTuple):
    """What follows from the boxes of N people, in NumPy or on the device."""

    frame_index: Any
    """(N,) int32: which frame a person is in."""
    crops: Any
    """(V, N, 2, 3) float64: the crop transforms of each view, the mirrored one last."""
    to_frame: Any
    """(N, 2, 3) float64: from what is decoded to frame pixels."""
    areas: Any
    """(N,) float64, of the boxes, in square pixels."""


def place_people(
    boxes: NDArray[np.float64],
    first: ArrayLike,
    *,
    size: Size,
    transform: Transform,
    padding: float,
    grid: Size | None = None,
    mirrored: bool = False,
) -> Places:
    """Find where the crops of people in B frames lie.

    boxes: (N, 4) xyxy in frame pixels; first: (B + 1,) from 0 on, ascending: frame f has the rows
    ``first[f]`` to ``first[f + 1]``, and the rows from ``first[B]`` on are places without a person,
    of index 0, whose crops lie outside every frame. size, transform, padding: of the model's input;
    grid: (w, h) of its heatmaps, None if input pixels are decoded (SimCC); mirrored: whether there
    is a mirrored view, which needs a grid.
    """
    starts = np.asarray(first)
    n = int(starts[-1])
    index = np.zeros(len(boxes), np.int32)
    index[:n] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    region = box_to_region(boxes[:n], size[0] / size[1], padding)
    plain = np.empty((len(boxes), 2, 3))
    plain[:n], plain[n:] = crop_transform(*region, size, transform), NOWHERE
    to_frame = plain.copy()
    views = [plain]
    if grid is not None:
        to_frame[:, :, :2] *= heatmap_to_input(grid, size, transform)
        views += [mirrored_crop(plain, size, grid, transform)] * mirrored
    areas = np.zeros(len(boxes))
    areas[:n] = (boxes[:n, 2:] - boxes[:n, :2]).prod(1)
    return Places(index, np.stack(views), to_frame, areas)
