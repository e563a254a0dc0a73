"""The array operations around the networks on an NVIDIA GPU, through CuPy.

Same names, arguments and results as :mod:`pcr_rt.cuda_kernels.reference`, with CuPy arrays for
NumPy ones. Inputs may be CuPy arrays, anything with ``__cuda_array_interface__`` (both are used in
place) or NumPy arrays (copied to the device). Work is queued on the current stream of the current
device; nothing waits for it, except functions whose results' lengths the host has to know:
``decode_boxes``, ``box_nms`` and ``oks_nms``. The ``*_padded`` variants of those leave the lengths
on the device and take many frames in one launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pcr_rt.cuda_kernels._device import (
    FRAME,
    NULL,
    DeviceArray,
    FrameTable,
    blocks,
    constant,
    cupy,
    fitting,
    frame_rows,
    frame_table,
    launch,
    normalisation,
    on_device,
    pointers,
    same_type,
    typed,
)
from pcr_rt.cuda_kernels._device_boxes import (
    Candidates,
    box_nms,
    box_nms_padded,
    decode_boxes,
    decode_boxes_padded,
)
from pcr_rt.cuda_kernels._device_oks import oks_nms, oks_nms_padded
from pcr_rt.cuda_kernels._heatmaps import DecodeMethod, smoothing_kernels, smoothing_radius
from pcr_rt.cuda_kernels._queue import Graph, Packed, Staging, memory_of, on, taken
from pcr_rt.cuda_kernels.nv12 import Nv12Frame
from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.skeleton import FLIP, NUM_KEYPOINTS

__all__ = [
    "FRAME",
    "Candidates",
    "FrameTable",
    "Graph",
    "Packed",
    "Staging",
    "box_nms",
    "box_nms_padded",
    "crop_persons",
    "cupy",
    "decode_boxes",
    "decode_boxes_padded",
    "decode_heatmaps",
    "decode_simcc",
    "frame_rows",
    "frame_table",
    "letterbox",
    "memory_of",
    "oks_nms",
    "oks_nms_padded",
    "on",
    "taken",
]

MOST_SIGMA = 6.4
"""Of a DARK kernel that fits in the block's shared memory (MOST_RADIUS in decode_heatmaps.cu)."""

ROWS = 4
"""Pixels that a thread of crop_persons and letterbox makes (planes.cuh)."""

_METHODS: tuple[DecodeMethod, ...] = ("none", "quarter", "dark")


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
    """As :func:`reference.crop_persons`: crops (N, 3, h, w). One launch for all frames.

    out: the array that takes the crops, whose dtype counts.
    """
    width, height = size
    people = on_device(transforms, np.float64, (None, 2, 3), "transforms")
    index = on_device(frame_index, np.int32, (len(people),), "frame_index")
    count = len(frames.sizes if isinstance(frames, FrameTable) else frames)
    if isinstance(frame_index, np.ndarray) and not np.isin(frame_index, range(count)).all():
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
    """As :func:`reference.letterbox`, grey levels not rounded: images (B, 3, h, w), scales (B,).

    The scales follow from the frames' shapes, so they are a NumPy array. out: the array that takes
    the images, whose dtype counts.
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


def decode_heatmaps(
    heatmaps: DeviceArray | Sequence[DeviceArray],
    transforms: DeviceArray,
    *,
    method: DecodeMethod,
    sigma: float = 2.0,
    mirrored: DeviceArray | Sequence[DeviceArray] | None = None,
    out: tuple[DeviceArray, DeviceArray] | None = None,
) -> tuple[DeviceArray, DeviceArray]:
    """As :func:`reference.decode_heatmaps`: keypoints (N, K, 2), scores (N, K). One launch.

    Maps have 2^31 samples at most; sigma is at most 6.4 with ``dark``.
    out: arrays for both results.
    """
    if method == "dark" and not 0 < sigma <= MOST_SIGMA:
        raise InputError(f"sigma is {sigma}; the DARK kernel takes up to {MOST_SIGMA} samples.")
    plain = _networks(heatmaps)
    outputs = plain + ([] if mirrored is None else _networks(mirrored))
    maps = same_type(outputs, "heatmaps")
    n, joints, height, width = maps[0].shape
    if any(m.shape != maps[0].shape for m in maps) or len(maps) % len(plain):
        raise InputError(f"heatmaps differ in shape: {[tuple(m.shape) for m in maps]}.")
    people = on_device(transforms, np.float64, (n, 2, 3), "transforms")
    keypoints, scores = _decoded(n, joints, out)
    if scores.size:
        flip = constant(FLIP.astype(np.int32)) if joints == NUM_KEYPOINTS else NULL
        radius = smoothing_radius(sigma)
        launch(
            typed("decode_heatmaps", maps[0].dtype),
            (n * joints,),
            128,
            (
                pointers(maps[: len(plain)]),
                NULL if mirrored is None else pointers(maps[len(plain) :]),
                people,
                NULL if mirrored is None else flip,
                # Weights at distance 0, 1 ...: the right half of the kernel of the first sample.
                constant(smoothing_kernels(radius)[:, 0, radius : 2 * radius + 1])
                if method == "dark"
                else NULL,
                keypoints,
                scores,
                *map(np.int32, (len(plain), joints, height, width, _METHODS.index(method), radius)),
            ),
        )
    return keypoints, scores


def decode_simcc(
    simcc_x: DeviceArray,
    simcc_y: DeviceArray,
    transforms: DeviceArray,
    *,
    split: float = 2.0,
    out: tuple[DeviceArray, DeviceArray] | None = None,
) -> tuple[DeviceArray, DeviceArray]:
    """As :func:`reference.decode_simcc`: keypoints (N, K, 2), scores (N, K). One launch.

    out: arrays for both results.
    """
    x, y = same_type([simcc_x, simcc_y], "simcc_x and simcc_y")
    n, joints, width = x.shape
    if y.shape[:2] != x.shape[:2]:
        raise InputError(f"simcc_x and simcc_y differ in shape: {x.shape} and {y.shape}.")
    people = on_device(transforms, np.float64, (n, 2, 3), "transforms")
    keypoints, scores = _decoded(n, joints, out)
    if scores.size:
        sizes = map(np.int32, (joints, width, y.shape[2]))
        arguments = (x, y, people, keypoints, scores, *sizes, np.float64(split))
        launch(typed("decode_simcc", x.dtype), (n * joints,), 64, arguments)
    return keypoints, scores


def _decoded(
    people: int, joints: int, out: tuple[DeviceArray, DeviceArray] | None
) -> tuple[DeviceArray, DeviceArray]:
    """Arrays for keypoints and their scores."""
    if out is not None:
        return fitting(out[0], (people, joints, 2)), fitting(out[1], (people, joints))
    cp = cupy()
    return cp.empty((people, joints, 2), np.float32), cp.empty((people, joints), np.float32)


def _networks(maps: DeviceArray | Sequence[DeviceArray]) -> list[DeviceArray]:
    return list(maps) if isinstance(maps, (list, tuple)) else [maps]
