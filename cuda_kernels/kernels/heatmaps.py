"""Keypoints from heatmaps and SimCC vectors on the GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pcr_rt.cuda_kernels.kernels.launch import (
    NULL,
    DeviceArray,
    constant,
    cupy,
    fitting,
    launch,
    on_device,
    pointers,
    same_type,
    typed,
)
from pcr_rt.cuda_kernels.reference.heatmaps import DecodeMethod, smoothing_kernels, smoothing_radius
from pcr_rt.errors import InputError

__all__ = ["decode_heatmaps", "decode_simcc"]

MOST_SIGMA = 6.4
"""Of a DARK kernel that fits in the block's shared memory (MOST_RADIUS in decode_heatmaps.cu)."""

_METHODS: tuple[DecodeMethod, ...] = ("none", "quarter", "dark")


def decode_heatmaps(
    heatmaps: DeviceArray | Sequence[DeviceArray],
    transforms: DeviceArray,
    *,
    method: DecodeMethod,
    sigma: float = 2.0,
    mirrored: DeviceArray | Sequence[DeviceArray] | None = None,
    flip: NDArray[np.intp] | None = None,
    out: tuple[DeviceArray, DeviceArray] | None = None,
) -> tuple[DeviceArray, DeviceArray]:
    """Do what :func:`reference.decode_heatmaps` does: keypoints (N, K, 2), scores (N, K).

    One launch. Maps have 2^31 samples at most; sigma is at most 6.4 with ``dark``. flip lies on
    the host. out: arrays for both results.
    """
    if method == "dark" and not 0 < sigma <= MOST_SIGMA:
        raise InputError(f"sigma is {sigma}; the DARK kernel takes up to {MOST_SIGMA} samples.")
    plain = _networks(heatmaps)
    outputs = plain + ([] if mirrored is None else _networks(mirrored))
    maps = same_type(outputs, "heatmaps")
    n, joints, height, width = maps[0].shape
    if any(m.shape != maps[0].shape for m in maps) or len(maps) % len(plain):
        raise InputError(f"heatmaps differ in shape: {[tuple(m.shape) for m in maps]}.")
    if mirrored is not None and (flip is None or len(flip) != joints):
        raise ValueError(f"mirrored maps of {joints} keypoints need a flip for each")
    people = on_device(transforms, np.float64, (n, 2, 3), "transforms")
    keypoints, scores = _decoded(n, joints, out)
    if scores.size:
        radius = smoothing_radius(sigma)
        launch(
            typed("decode_heatmaps", maps[0].dtype),
            (n * joints,),
            128,
            (
                pointers(maps[: len(plain)]),
                NULL if mirrored is None else pointers(maps[len(plain) :]),
                people,
                NULL if flip is None else constant(flip.astype(np.int32)),
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
    """Do what :func:`reference.decode_simcc` does: keypoints (N, K, 2), scores (N, K). One launch.

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
    """Make or check arrays for keypoints and their scores."""
    if out is not None:
        return fitting(out[0], (people, joints, 2)), fitting(out[1], (people, joints))
    cp = cupy()
    return cp.empty((people, joints, 2), np.float32), cp.empty((people, joints), np.float32)


def _networks(maps: DeviceArray | Sequence[DeviceArray]) -> list[DeviceArray]:
    return list(maps) if isinstance(maps, (list, tuple)) else [maps]
