"""Whole images on the device, and crops cut from them there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcr_rt.coco.record_images import read_labelled
from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.training.data.person import Broken, report_broken

__all__ = ["ImagesOnDevice"]


class ImagesOnDevice:
    """Every image decoded once, as one run of uint8 in the device's memory.

    Reading and decoding JPEG files gives some hundred crops per second and core; from memory a GPU
    cuts them faster than any network here takes them. images: each with the (width, height)
    that its labels are for, or None. stored: those of them that their EXIF orientation does not
    turn. broken: an image that cannot be read or has another size is an error, or is left out with
    a warning and listed in ``unreadable``.
    """

    def __init__(
        self,
        images: Mapping[Path, Size | None],
        device: str,
        threads: int = 1,
        broken: Broken = "refuse",
        stored: Collection[Path] = (),
    ) -> None:
        unique = sorted(images)
        with ThreadPoolExecutor(threads) as pool:
            read = list(pool.map(lambda p: _read(p, images[p], p in stored), unique))
        self.unreadable: set[Path] = set()
        frames = []
        for path, frame in zip(unique, read, strict=True):
            if isinstance(frame, InputError):
                report_broken(str(frame).rstrip("."), broken)
                self.unreadable.add(path)
            else:
                frames.append(frame)
        sound = [path for path in unique if path not in self.unreadable]
        self._place = {path: i for i, path in enumerate(sound)}
        self._shapes = [(frame.shape[1], frame.shape[0]) for frame in frames]
        ends = np.cumsum([frame.size // 3 for frame in frames])
        self._pixels = torch.from_numpy(
            np.concatenate([frame.reshape(-1, 3) for frame in frames])
        ).to(device)
        self._sizes = torch.tensor(self._shapes, device=device)
        self._starts = torch.from_numpy(np.concatenate([[0], ends[:-1]])).to(device)

    def size(self, path: Path) -> Size:
        """Return width and height of an image that could be read."""
        return self._shapes[self._place[path]]

    def crop(self, paths: Sequence[Path], matrices: NDArray[np.float64], size: Size) -> Tensor:
        """Cut crops (N, H, W, 3), uint8 RGB, by bilinear interpolation, zero outside the images.

        matrices: (N, 2, 3), crop pixels to image pixels; size: (w, h) of the crops.
        """
        device = self._pixels.device
        place = torch.tensor([self._place[path] for path in paths], device=device)
        start = self._starts[place].view(-1, 1, 1)
        width, height = (side.view(-1, 1, 1) for side in self._sizes[place].unbind(1))
        m = torch.from_numpy(matrices.astype(np.float32)).to(device)[..., None, None]
        u = torch.arange(size[0], device=device, dtype=torch.float32).view(1, 1, -1)
        v = torch.arange(size[1], device=device, dtype=torch.float32).view(1, -1, 1)
        x = m[:, 0, 0] * u + m[:, 0, 1] * v + m[:, 0, 2]
        y = m[:, 1, 0] * u + m[:, 1, 1] * v + m[:, 1, 2]
        left, top = x.floor(), y.floor()
        total = torch.zeros(*x.shape, 3, device=device)
        for column, across in ((left, left + 1 - x), (left + 1, x - left)):
            for row, down in ((top, top + 1 - y), (top + 1, y - top)):
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                index = start + torch.where(inside, row.long() * width + column.long(), 0)
                weight = torch.where(inside, across * down, 0.0)
                total += weight[..., None] * self._pixels[index]
        return total.round_().to(torch.uint8)


def _read(path: Path, size: Size | None, stored: bool) -> NDArray[np.uint8] | InputError:
    try:
        return np.ascontiguousarray(read_labelled(path, size, ignore_exif=stored)[..., ::-1])
    except InputError as error:
        return error
