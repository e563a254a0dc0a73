"""Crops and letterboxed frames on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pcr_rt.cuda_kernels.kernels.launch import (
    DeviceArray,
    FrameTable,
    blocks,
    cupy,
    fitting,
    frame_table,
    launch,
    normalisation,
    on_device,
    typed,
)
from pcr_rt.errors import InputError
from pcr_rt.frames import Nv12Frame
from pcr_rt.geometry import Size

__all__ = ["crop_persons", "letterbox"]

ROWS = 4
"""Pixels that a thread of crop_persons and letterbox makes (planes.cuh)."""


def crop_persons(
    frames: Sequence[DeviceArray | Nv12Frame] | FrameTable,
    frame_index: DeviceArray,
    transforms: DeviceArray,
    size: Size,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    rgb: bool = True,
    dtype: DTypeLike = np.float32,
    out: DeviceArray | None = None,
) -> DeviceArray:
    """Do what :func:`reference.crop_persons` does: crops (N, 3, h, w). One launch for all frames.

    out: the array that takes the crops, whose dtype counts.
    """
    width, height = size
    people = on_device(transforms, np.float64, (None, 2, 3), "transforms")
    index = on_device(frame_index, np.int32, (len(people),), "frame_index")
    count = len(frames.sizes if isinstance(frames, FrameTable) else frames)
    on_host = isinstance(frame_index, np.ndarray) and index is not frame_index
    if on_host and not np.isin(frame_index, range(count)).all():
        raise InputError(f"frame_index names a frame that is not among the {count} given.")
    shape = (len(people), 3, height, width)
    crops = cupy().empty(shape, dtype) if out is None else fitting(out, shape)
    if len(people):
        seen = frames if isinstance(frames, FrameTable) else frame_table(frames)
        arguments = (
            seen.table,
            index,
            people,
            crops,
            np.int32(width),
            np.int32(height),
            np.int32(rgb),
        )
        grid = (len(people), blocks(width * blocks(height, ROWS)))
        name = typed("crop_persons", crops.dtype)
        launch(name, grid, 256, (*arguments, *normalisation(mean, std)))
    return crops


def letterbox(
    frames: Sequence[DeviceArray | Nv12Frame] | FrameTable,
    size: Size,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    fill: float = 114.0,
    rgb: bool = False,
    dtype: DTypeLike = np.float32,
    out: DeviceArray | None = None,
) -> tuple[DeviceArray, Any]:
    """Do what :func:`reference.letterbox` does: images (B, 3, h, w), scales (B,).

    Grey levels are not rounded. The scales follow from the frames' shapes, so they are a NumPy
    array. out: the array that takes the images, whose dtype counts.
    """
    width, height = size
    sizes = frames.sizes if isinstance(frames, FrameTable) else [f.shape[:2] for f in frames]
    scales = np.array([min(width / w, height / h) for h, w in sizes], np.float64)
    shape = (len(sizes), 3, height, width)
    images = cupy().empty(shape, dtype) if out is None else fitting(out, shape)
    if sizes:
        seen = frames if isinstance(frames, FrameTable) else frame_table(frames)
        arguments = (seen.table, images, np.int32(width), np.int32(height), np.float32(fill))
        grid = (len(sizes), blocks(width * blocks(height, ROWS)))
        name = typed("letterbox", images.dtype)
        launch(name, grid, 256, (*arguments, np.int32(rgb), *normalisation(mean, std)))
    return images, scales
