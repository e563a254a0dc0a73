"""The places of people's crops on the GPU."""

from __future__ import annotations

import numpy as np

from pcr_rt.cuda_kernels.kernels.launch import DeviceArray, blocks, cupy, launch, on_device
from pcr_rt.cuda_kernels.reference.places import Places
from pcr_rt.geometry import Size, Transform, heatmap_to_input, pixel_steps

__all__ = ["Places", "place_people"]

THREADS = 64


def place_people(
    boxes: DeviceArray,
    first: DeviceArray,
    *,
    size: Size,
    transform: Transform,
    padding: float,
    grid: Size | None = None,
    mirrored: bool = False,
    out: Places | None = None,
) -> Places:
    """Do what :func:`reference.place_people` does, in one launch.

    out: arrays for the results.
    """
    people = on_device(boxes, np.float64, (None, 4), "boxes")
    starts = on_device(first, np.int32, (None,), "first")
    cp, n, views = cupy(), len(people), 1 + mirrored
    places = out or Places(
        cp.empty(n, np.int32),
        cp.empty((views, n, 2, 3), np.float64),
        cp.empty((n, 2, 3), np.float64),
        cp.empty(n, np.float64),
    )
    sample, last = np.ones(2), 0.0
    if grid is not None:
        sample = heatmap_to_input(grid, size, transform)
        last = sample[0] * (grid[0] - 1)
    numbers = (size[0] / size[1], padding, *pixel_steps(size, transform), *sample, last)
    if n:
        counts = map(np.int32, (n, len(starts) - 1, views))
        arguments = (people, starts, *places, *counts, *map(np.float64, numbers))
        launch("place_people", (blocks(n, THREADS),), THREADS, arguments)
    return places
