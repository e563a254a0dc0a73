"""Batches of augmented crops: a deterministic order, threads that read, uint8 until the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcr_rt.errors import DataError
from pcr_rt.geometry import (
    Size,
    Transform,
    apply_transform,
    heatmap_to_input,
    invert_transform,
)
from pcr_rt.skeleton import FLIP
from pcr_rt.training.data.augment import Augmentation, draw_views
from pcr_rt.training.data.coco import Person
from pcr_rt.training.data.device_pictures import PicturesOnDevice

__all__ = ["Batch", "Loader", "View", "read_crop", "to_heatmap"]

AHEAD = 2


@dataclass(frozen=True)
class View:
    """What one training stage looks at: input and map size (w, h), convention, augmentation."""

    size: Size
    heatmap: Size
    transform: Transform
    augmentation: Augmentation


class Batch(NamedTuple):
    """images (N, H, W, 3) uint8 RGB; points (N, 17, 2) in input pixels; amplitudes, weights."""

    images: Tensor
    points: Tensor
    amplitudes: Tensor
    weights: Tensor


class _Plan(NamedTuple):
    """Who is in a batch and how each is looked at."""

    people: list[Person]
    matrices: NDArray[np.float64]
    flipped: NDArray[np.bool_]


class Loader:
    """Batch ``i`` of an endless, shuffled pass over ``people``; the same for the same seed.

    Each pass is a new permutation, and each batch has a random generator of its own, so a run that
    resumes at step ``i`` sees what an uninterrupted one would have seen. pictures: cuts the crops
    on the device; without it ``threads`` read them from the files, two batches ahead.
    """

    def __init__(
        self,
        people: Sequence[Person],
        view: View,
        *,
        batch: int,
        seed: int,
        threads: int = 1,
        pictures: PicturesOnDevice | None = None,
    ) -> None:
        if not people:
            raise DataError("There is nobody to train on: the data sets hold no labelled person.")
        self.people, self.view, self.batch, self.seed = people, view, batch, seed
        self.threads, self.pictures = threads, pictures
        self._order: tuple[int, NDArray[np.intp]] = (-1, np.empty(0, dtype=np.intp))

    def __len__(self) -> int:
        """Batches in one pass."""
        return max(len(self.people) // self.batch, 1)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Batches ``first`` to ``last - 1``."""
        with ThreadPoolExecutor(self.threads) as pool:
            ahead: deque[tuple[_Plan, list[Future[NDArray[np.uint8]]]]] = deque()
            for step in range(first, last + AHEAD):
                if step < last:
                    plan = self._plan(step)
                    crops = []
                    if self.pictures is None:
                        crops = [
                            pool.submit(read_crop, person.image, matrix, self.view.size)
                            for person, matrix in zip(plan.people, plan.matrices, strict=True)
                        ]
                    ahead.append((plan, crops))
                if step >= first + AHEAD and ahead:
                    plan, crops = ahead.popleft()
                    yield self._collate(plan, [crop.result() for crop in crops])

    def _plan(self, step: int) -> _Plan:
        people = [self._person(k) for k in range(step * self.batch, (step + 1) * self.batch)]
        rng = np.random.default_rng((self.seed, 1, step))
        view = self.view
        matrices, flipped = draw_views(
            people, view.size, view.heatmap, view.transform, view.augmentation, rng
        )
        return _Plan(people, matrices, flipped)

    def _person(self, k: int) -> Person:
        turn, place = divmod(k, len(self.people))
        if self._order[0] != turn:
            order = np.random.default_rng((self.seed, 0, turn)).permutation(len(self.people))
            self._order = (turn, order)
        return self.people[int(self._order[1][place])]

    def _collate(self, plan: _Plan, crops: list[NDArray[np.uint8]]) -> Batch:
        keypoints = np.stack([person.keypoints for person in plan.people])
        points = apply_transform(invert_transform(plan.matrices), keypoints)
        amplitudes = np.stack([person.amplitudes for person in plan.people])
        weights = np.stack([person.weights for person in plan.people])
        for values in (points, amplitudes, weights):
            values[plan.flipped] = values[plan.flipped][:, FLIP]
        if self.pictures is None:
            images = torch.from_numpy(np.stack(crops))
        else:
            paths = [person.image for person in plan.people]
            images = self.pictures.crop(paths, plan.matrices, self.view.size)
        rest = (torch.from_numpy(v.astype(np.float32)) for v in (points, amplitudes, weights))
        return Batch(images, *rest)


def read_crop(path: Path, matrix: NDArray[np.float64], size: Size) -> NDArray[np.uint8]:
    """Crop (H, W, 3) RGB of a picture file; matrix (2, 3): crop pixels to picture pixels."""
    frame = cv2.imread(str(path))
    if frame is None:
        raise DataError(f"The picture {path} cannot be read.")
    crop = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(crop[..., ::-1], dtype=np.uint8)


def to_heatmap(points: Tensor, size: Size, heatmap: Size, transform: Transform) -> Tensor:
    """Input pixels (..., 2) to samples of a map of ``heatmap`` = (w, h)."""
    step = heatmap_to_input(heatmap, size, transform)
    return points / torch.tensor(step, dtype=points.dtype, device=points.device)
