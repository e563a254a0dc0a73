"""Where a network's crops and heatmaps lie in the frame, and how several networks share a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.cuda_kernels import reference
from pcr_rt.engines import Engine
from pcr_rt.errors import ModelError
from pcr_rt.geometry import Size, box_to_region, crop_transform, heatmap_to_input, mirrored_crop
from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import Skeleton

__all__ = [
    "PoseNetwork",
    "average_on_common_grid",
    "crop_people",
    "crop_transforms",
    "same_grid",
    "samples_to_frame",
]

Float = NDArray[np.float64]


class PoseNetwork:
    """An engine that gives keypoints, with the places of its inputs and outputs in the frame.

    skeleton: takes the place of the spec's. Raises ModelError for a detector's engine, and if the
    skeleton has another number of keypoints.
    """

    def __init__(self, engine: Engine, skeleton: Skeleton | None = None) -> None:
        if engine.spec.is_detector:
            raise ModelError(f"{engine.spec.name!r} is a detector, not a pose model.")
        self.engine = engine
        self.spec = engine.spec if skeleton is None else engine.spec.with_skeleton(skeleton)
        self._heatmap: Size | None = None

    def heatmap_size(self) -> Size:
        """Give (w, h) of the heatmaps, from one blank crop the first time."""
        if self._heatmap is None:
            width, height = self.spec.input_size
            maps = self.engine.run(np.zeros((1, 3, height, width), dtype=np.float32))[0]
            self._heatmap = _grid(maps)
        return self._heatmap

    def views(self, boxes: NDArray[Any], *, flip_test: bool) -> list[Float]:
        """Give the transforms (N, 2, 3) of the crops of boxes (N, 4), and with a flip test those of
        the mirrored crops too.
        """
        crops = crop_transforms(boxes, self.spec)
        if not flip_test:
            return [crops]
        size, transform = self.spec.input_size, self.spec.transform
        return [crops, mirrored_crop(crops, size, self.heatmap_size(), transform)]

    def crop(
        self,
        frames: Sequence[Any],
        frame_index: NDArray[np.intp],
        boxes: NDArray[Any],
        *,
        flip_test: bool,
    ) -> tuple[NDArray[np.float32], Float]:
        """Crop the inputs of boxes (N, 4) in the frames that ``frame_index`` (N,) names.

        Returns N images, or 2N with the mirrored ones last, and the N plain crops' transforms.
        """
        views = self.views(boxes, flip_test=flip_test)
        index = np.tile(frame_index, len(views))
        return crop_people(frames, index, np.concatenate(views), self.spec), views[0]


def crop_transforms(boxes: ArrayLike, spec: ModelSpec) -> Float:
    """Give the transforms (N, 2, 3) from a model's input pixels to the frame, for boxes (N, 4)."""
    width, height = spec.input_size
    region = box_to_region(boxes, width / height, spec.padding)
    return crop_transform(*region, spec.input_size, spec.transform)


def samples_to_frame(crops: Float, spec: ModelSpec, grid: Size) -> Float:
    """Turn crop transforms (N, 2, 3) into those from the samples of heatmaps of size ``grid``."""
    to_frame: Float = crops.copy()
    to_frame[:, :, :2] *= heatmap_to_input(grid, spec.input_size, spec.transform)
    return to_frame


def crop_people(
    frames: Sequence[Any], frame_index: NDArray[np.intp], crops: Float, spec: ModelSpec
) -> NDArray[np.float32]:
    """Crop a model's inputs (N, 3, H, W): of ``frames[frame_index[i]]`` the crop ``crops[i]``."""
    images: NDArray[np.float32] = reference.crop_persons(
        frames, frame_index, crops, spec.input_size, spec.mean, spec.std, rgb=spec.colour == "rgb"
    )
    return images


def same_grid(networks: Sequence[PoseNetwork]) -> bool:
    """Tell whether all networks see the same crops, with their heatmaps' samples in one place."""

    def grid(network: PoseNetwork) -> tuple[Any, ...]:
        spec = network.spec
        return spec.input_size, spec.transform, spec.padding, network.heatmap_size()

    return len(networks) == 1 or len({grid(network) for network in networks}) == 1


def average_on_common_grid(
    outputs: list[tuple[PoseNetwork, NDArray[np.float64], list[NDArray[Any]]]], flip_test: bool
) -> tuple[list[NDArray[Any]], list[NDArray[Any]] | None, NDArray[np.float64]]:
    """Bring the heatmaps of all networks to the first one's grid, for ``decode_heatmaps``.

    outputs: for each network its crop transforms (N, 2, 3) and its outputs, of which the first
    holds N heatmaps, or 2N with those of the mirrored crops after the plain ones. Returns the
    plain maps, the mirrored ones (None without flip test), and the (N, 2, 3) transforms from a
    sample of the common grid to the frame.
    """
    network, crops, maps = outputs[0]
    size = _grid(maps[0])
    to_frame = samples_to_frame(crops, network.spec, size)
    plain, flipped = [], []
    for index, (other, other_crops, other_maps) in enumerate(outputs):
        straight, mirrored = np.split(other_maps[0], [len(crops)])
        own = samples_to_frame(other_crops, other.spec, _grid(straight)) if index else to_frame
        if own is not to_frame and not np.allclose(own, to_frame):
            straight = _resample(straight, own, to_frame, size)
            # A network's maps mirror about its own last sample, so they are turned back first.
            if flip_test:
                mirrored = _resample(mirrored[..., ::-1], own, to_frame, size)[..., ::-1]
        plain.append(straight)
        flipped.append(mirrored)
    return plain, flipped if flip_test else None, to_frame


def _grid(heatmaps: NDArray[Any]) -> Size:
    return heatmaps.shape[3], heatmaps.shape[2]


def _resample(
    heatmaps: NDArray[Any], own: NDArray[np.float64], to_frame: NDArray[np.float64], size: Size
) -> NDArray[np.float32]:
    """Heatmaps read by bilinear interpolation at the places of the common grid's samples.

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
