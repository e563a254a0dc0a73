"""Heatmaps of one or several networks on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.engines import Engine
from pcr_rt.errors import ModelError
from pcr_rt.geometry import Size, heatmap_to_input

__all__ = ["PoseNetwork", "average_on_common_grid", "same_grid"]


class PoseNetwork:
    """An engine that gives keypoints, with the size of its heatmaps."""

    def __init__(self, engine: Engine) -> None:
        if engine.spec.is_detector:
            raise ModelError(f"{engine.spec.name!r} is a detector, not a pose model.")
        self.engine = engine
        self.spec = engine.spec
        self._heatmap: Size | None = None

    def heatmap_size(self) -> Size:
        """(w, h) of the heatmaps, from one blank crop the first time."""
        if self._heatmap is None:
            width, height = self.spec.input_size
            maps = self.engine.run(np.zeros((1, 3, height, width), dtype=np.float32))[0]
            self._heatmap = (maps.shape[3], maps.shape[2])
        return self._heatmap


def same_grid(networks: Sequence[PoseNetwork]) -> bool:
    """Whether all networks see the same crops, and their heatmaps' samples lie alike in them."""

    def grid(network: PoseNetwork) -> tuple[Any, ...]:
        spec = network.spec
        return spec.input_size, spec.transform, spec.padding, network.heatmap_size()

    return len(networks) == 1 or len({grid(network) for network in networks}) == 1


def average_on_common_grid(
    outputs: list[tuple[PoseNetwork, NDArray[np.float64], list[NDArray[Any]]]], flip_test: bool
) -> tuple[list[NDArray[Any]], list[NDArray[Any]] | None, NDArray[np.float64]]:
    """What ``decode_heatmaps`` needs of all networks, on the first one's grid.

    outputs: for each network its crop transforms (N, 2, 3) and its outputs, of which the first
    holds N heatmaps, or 2N with those of the mirrored crops after the plain ones. Returns the
    plain maps, the mirrored ones (None without flip test), and the (N, 2, 3) transforms from a
    sample of the common grid to the frame.
    """
    network, crops, maps = outputs[0]
    size = _grid(maps[0])
    to_frame = _sample_to_frame(network, crops, size)
    plain, flipped = [], []
    for other, other_crops, other_maps in outputs:
        straight, mirrored = np.split(other_maps[0], [len(crops)])
        own = _sample_to_frame(other, other_crops, _grid(straight))
        if not np.allclose(own, to_frame):
            straight = _resample(straight, own, to_frame, size)
            # A network's maps mirror about its own last sample, so they are turned back first.
            if flip_test:
                mirrored = _resample(mirrored[..., ::-1], own, to_frame, size)[..., ::-1]
        plain.append(straight)
        flipped.append(mirrored)
    return plain, flipped if flip_test else None, to_frame


def _grid(heatmaps: NDArray[Any]) -> Size:
    return heatmaps.shape[3], heatmaps.shape[2]


def _sample_to_frame(
    network: PoseNetwork, crops: NDArray[np.float64], grid: Size
) -> NDArray[np.float64]:
    to_frame: NDArray[np.float64] = crops.copy()
    spec = network.spec
    to_frame[:, :, :2] *= heatmap_to_input(grid, spec.input_size, spec.transform)
    return to_frame


def _resample(
    heatmaps: NDArray[Any], own: NDArray[np.float64], to_frame: NDArray[np.float64], size: Size
) -> NDArray[np.float32]:
    """Heatmaps read by bilinear interpolation where the common grid's samples lie.

    own, to_frame: transforms (N, 2, 3) of both grids' samples to the frame. Crops are upright, so
    the interpolation is one matrix an axis and person.
    """
    scale = own[:, [0, 1], [0, 1]]
    step = to_frame[:, [0, 1], [0, 1]] / scale
    start = (to_frame[:, :, 2] - own[:, :, 2]) / scale
    across, down = (
        _interpolation(start[:, axis, None] + step[:, axis, None] * np.arange(size[axis]), length)
        for axis, length in ((0, heatmaps.shape[3]), (1, heatmaps.shape[2]))
    )
    maps = heatmaps.astype(np.float32)
    result: NDArray[np.float32] = down[:, None] @ maps @ across[:, None].swapaxes(-1, -2)
    return result


def _interpolation(places: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """(N, P, length) weights of linear interpolation at places (N, P); outside reads the border."""
    places = places.clip(0, length - 1)
    weights = np.maximum(0, 1 - np.abs(places[..., None] - np.arange(length)))
    return np.asarray(weights, dtype=np.float32)
