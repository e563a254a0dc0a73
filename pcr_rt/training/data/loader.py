"""Batches of augmented crops: a deterministic order, threads that read, uint8 until the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcr_rt.errors import DataError, InputError
from pcr_rt.geometry import (
    Size,
    Transform,
    apply_transform,
    invert_transform,
)
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.augment import Augmentation, draw_views
from pcr_rt.training.data.crops import crop_on_device, read_crop
from pcr_rt.training.data.device_images import ImagesOnDevice
from pcr_rt.training.data.person import Broken, Person, report_broken
from pcr_rt.training.data.truncation import truncate

__all__ = ["Batch", "Loader", "View"]

AHEAD = 2
"""Batches that are being read while one is trained on."""


@dataclass(frozen=True)
class View:
    """What one training stage looks at: input and map size (w, h), convention, variety."""

    size: Size
    heatmap: Size
    transform: Transform
    augmentation: Augmentation
    skeleton: Skeleton = COCO17


class Batch(NamedTuple):
    """images (N, H, W, 3) uint8 RGB; points (N, K, 2) in input pixels; amplitudes, weights."""

    images: Tensor
    points: Tensor
    amplitudes: Tensor
    weights: Tensor


class _Plan(NamedTuple):
    """Who is in this process's part of a batch and how each is looked at."""

    people: list[Person]
    matrices: NDArray[np.float64]
    flipped: NDArray[np.bool_]


Crops = list[Future[NDArray[np.uint8]]]


class Loader:
    """Batch ``i`` of an endless, shuffled pass over ``people``; the same for the same seed.

    shares: people of whom every batch holds a fixed number, shuffled among themselves. Batches are
    always full: a pass ends within a batch, and the next one fills it up. part: (rank, processes)
    of several processes that share each batch; each gets every ``processes``-th sample.
    broken: an unreadable image ends the run with its id, or the next person takes its place.
    device_images: cuts the crops on the device; without it ``threads`` read them from the files.
    Each pass is a new permutation, and each batch has a random generator of its own, so a run that
    resumes at step ``i`` sees what an uninterrupted one would have seen.
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
        device_images: ImagesOnDevice | None = None,
    ) -> None:
        rest = batch - sum(count for _, count in shares)
        self._pools = [(people, rest), *shares]
        if not all(pool and count > 0 for pool, count in self._pools):
            raise DataError(
                "There is nobody to train on: a data set holds no labelled person, or its share of"
                f" a batch of {batch} is less than one."
            )
        self.people, self.view, self.batch, self.seed = people, view, batch, seed
        self.threads, self.broken, self.part, self.device_images = (
            threads,
            broken,
            part,
            device_images,
        )
        self._unreadable: set[Path] = (
            set() if device_images is None else set(device_images.unreadable)
        )
        self._orders: dict[int, tuple[int, NDArray[np.intp]]] = {}

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Yield batches ``first`` to ``last - 1``, read ahead by threads."""
        with ThreadPoolExecutor(self.threads) as pool:
            ahead: deque[tuple[int, _Plan, Crops]] = deque()
            for step in range(first, last + AHEAD):
                if step < last:
                    ahead.append((step, *self._start(step, pool)))
                if step >= first + AHEAD and ahead:
                    yield self._finish(*ahead.popleft(), pool)

    def _start(self, step: int, pool: ThreadPoolExecutor) -> tuple[_Plan, Crops]:
        plan = self._plan(step)
        if self.device_images is not None:
            return plan, []
        size = self.view.size
        looks = zip(plan.people, plan.matrices, strict=True)
        return plan, [pool.submit(read_crop, person, matrix, size) for person, matrix in looks]

    def _finish(self, step: int, plan: _Plan, crops: Crops, pool: ThreadPoolExecutor) -> Batch:
        """Put the batch together; if an image is broken, plan it anew without that."""
        if self.device_images is not None:
            crops_there = crop_on_device(
                self.device_images, plan.people, plan.matrices, self.view.size
            )
            return self._collate(plan, crops_there)
        while True:
            wait(crops)
            sound = True
            for person, crop in zip(plan.people, crops, strict=True):
                error = crop.exception()
                if error is None:
                    continue
                if not isinstance(error, InputError):
                    raise error
                sound = False
                if person.image not in self._unreadable:
                    problem = str(error).rstrip(".")
                    report_broken(f"Image {person.image_id} is broken ({problem})", self.broken)
                    self._unreadable.add(person.image)
            if sound:
                read = np.stack([crop.result() for crop in crops])
                return self._collate(plan, torch.from_numpy(read))
            plan, crops = self._start(step, pool)

    def _plan(self, step: int) -> _Plan:
        people = [self._view_of(step, slot) for slot in range(self.batch)]
        view = self.view
        matrices, flipped = draw_views(
            people,
            view.size,
            view.heatmap,
            view.transform,
            view.augmentation,
            np.random.default_rng((self.seed, 1, step)),
            view.skeleton,
        )
        mine = slice(self.part[0], None, self.part[1])
        return _Plan(people[mine], matrices[mine], flipped[mine])

    def _view_of(self, step: int, slot: int) -> Person:
        """Choose the person of a slot of a batch, whole or truncated."""
        person, probability = self._person(step, slot), self.view.augmentation.truncation
        if not probability:
            return person
        rng = np.random.default_rng((self.seed, 2, step, slot))
        return truncate(person, self.people, rng) if rng.random() < probability else person

    def _person(self, step: int, slot: int) -> Person:
        """Choose the person of a slot of a batch; the next one if an image is broken."""
        pool = 0
        while slot >= self._pools[pool][1]:
            slot -= self._pools[pool][1]
            pool += 1
        people, count = self._pools[pool]
        first = step * count + slot
        for place in range(first, first + len(people)):
            turn, index = divmod(place, len(people))
            person = people[int(self._order(pool, turn)[index])]
            if person.image not in self._unreadable:
                return person
        raise DataError("None of the images can be read: check the data folder.")

    def _order(self, pool: int, turn: int) -> NDArray[np.intp]:
        cached = self._orders.get(pool)
        if cached is None or cached[0] != turn:
            seed = (self.seed, 0, turn, pool) if pool else (self.seed, 0, turn)
            order = np.random.default_rng(seed).permutation(len(self._pools[pool][0]))
            cached = self._orders[pool] = (turn, order)
        return cached[1]

    def _collate(self, plan: _Plan, images: Tensor) -> Batch:
        keypoints = np.stack([person.keypoints for person in plan.people])
        points = apply_transform(invert_transform(plan.matrices), keypoints)
        amplitudes = np.stack([person.amplitudes for person in plan.people])
        weights = np.stack([person.weights for person in plan.people])
        if plan.flipped.any():
            for values in (points, amplitudes, weights):
                values[plan.flipped] = values[plan.flipped][:, self.view.skeleton.flip]
        rest = (torch.from_numpy(v.astype(np.float32)) for v in (points, amplitudes, weights))
        return Batch(images, *rest)
