"""Batches of augmented crops: a deterministic order, threads that read, uint8 until the device."""

from __future__ import annotations

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

from pcr_rt.errors import DataError, InputError
from pcr_rt.geometry import (
    Size,
    Transform,
    apply_transform,
    heatmap_to_input,
    invert_transform,
)
from pcr_rt.media import read_image
from pcr_rt.skeleton import FLIP
from pcr_rt.training.data.augment import Augmentation, draw_view
from pcr_rt.training.data.person import Broken, Person, report_broken

__all__ = ["Batch", "Loader", "View", "to_heatmap"]


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


class Loader:
    """Batch ``i`` of an endless, shuffled pass over ``people``; the same for the same seed.

    shares: people of whom every batch holds a fixed number, shuffled for themselves. Batches are
    always full: a pass ends within a batch, and the next one fills it up. part: (rank, processes)
    of several processes that share each batch; each gets every ``processes``-th sample.
    broken: an unreadable picture ends the run with its id, or the next person takes its place.
    Each pass is a new permutation, and sample ``k`` of the whole run has a random generator of its
    own, so a run that resumes at step ``i`` sees what an uninterrupted one would have seen.
    """

    def __init__(
        self,
        people: Sequence[Person],
        view: View,
        *,
        batch: int,
        seed: int,
        threads: int = 1,
        broken: Broken = "refuse",
        shares: Sequence[tuple[Sequence[Person], int]] = (),
        part: tuple[int, int] = (0, 1),
    ) -> None:
        rest = batch - sum(count for _, count in shares)
        self._pools = [(people, rest), *shares]
        if not all(pool and count > 0 for pool, count in self._pools):
            raise DataError(
                "There is nobody to train on: a data set holds no labelled person, or its share of"
                f" a batch of {batch} is less than one."
            )
        self.part = part
        self.people, self.view, self.batch, self.seed = people, view, batch, seed
        self.threads, self.broken = threads, broken
        self._unreadable: set[Path] = set()
        self._orders: dict[int, tuple[int, NDArray[np.intp]]] = {}

    def __len__(self) -> int:
        """Batches in one pass."""
        return max(len(self.people) // self._pools[0][1], 1)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Batches ``first`` to ``last - 1``, read ahead by threads."""
        with ThreadPoolExecutor(self.threads) as pool:
            ahead: list[list[Future[tuple[NDArray[np.uint8], NDArray[np.float64]]]]] = []
            for step in range(first, last + 2):
                if step < last:
                    start, end = step * self.batch, (step + 1) * self.batch
                    samples = range(start + self.part[0], end, self.part[1])
                    ahead.append([pool.submit(self._sample, k) for k in samples])
                if step >= first + 2 and ahead:
                    yield self._collate([future.result() for future in ahead.pop(0)])

    def _sample(self, k: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Crop (H, W, 3) RGB and its keypoints (17, 4): x, y, amplitude, weight."""
        person, frame = self._readable(k)
        rng = np.random.default_rng((self.seed, 1, k))
        view = self.view
        matrix, flipped = draw_view(
            person, view.size, view.heatmap, view.transform, view.augmentation, rng
        )
        crop = cv2.warpAffine(
            frame, matrix, view.size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        points = apply_transform(invert_transform(matrix), person.keypoints)
        keypoints = np.column_stack([points, person.amplitudes, person.weights])
        image = np.asarray(crop[..., ::-1], dtype=np.uint8)
        return image, keypoints[FLIP] if flipped else keypoints

    def _readable(self, k: int) -> tuple[Person, NDArray[np.uint8]]:
        """Person of sample ``k`` of the run, and the picture; the next one where it is broken."""
        step, slot = divmod(k, self.batch)
        pool = 0
        while slot >= self._pools[pool][1]:
            slot -= self._pools[pool][1]
            pool += 1
        people, count = self._pools[pool]
        first = step * count + slot
        for place in range(first, first + len(people)):
            turn, index = divmod(place, len(people))
            person = people[int(self._order(pool, turn)[index])]
            if person.image in self._unreadable:
                continue
            try:
                return person, read_image(person.image)
            except InputError as error:
                problem = str(error).rstrip(".")
                report_broken(f"Image {person.image_id} is broken ({problem})", self.broken)
                self._unreadable.add(person.image)
        raise DataError("None of the pictures can be read: check the data folder.")

    def _order(self, pool: int, turn: int) -> NDArray[np.intp]:
        cached = self._orders.get(pool)
        if cached is None or cached[0] != turn:
            seed = (self.seed, 0, turn, pool) if pool else (self.seed, 0, turn)
            order = np.random.default_rng(seed).permutation(len(self._pools[pool][0]))
            cached = self._orders[pool] = (turn, order)
        return cached[1]

    def _collate(self, samples: list[tuple[NDArray[np.uint8], NDArray[np.float64]]]) -> Batch:
        images = torch.from_numpy(np.stack([image for image, _ in samples]))
        keypoints = torch.from_numpy(np.stack([k for _, k in samples]).astype(np.float32))
        return Batch(images, keypoints[..., :2], keypoints[..., 2], keypoints[..., 3])


def to_heatmap(points: Tensor, size: Size, heatmap: Size, transform: Transform) -> Tensor:
    """Input pixels (..., 2) to samples of a map of ``heatmap`` = (w, h)."""
    step = heatmap_to_input(heatmap, size, transform)
    return points / torch.tensor(step, dtype=points.dtype, device=points.device)
