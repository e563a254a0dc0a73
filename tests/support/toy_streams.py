"""Frames that carry a number, an estimator that reads it, and sources that misbehave."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.results import Result
from pcr_rt.streaming.sinks import Sink
from pcr_rt.streaming.sources import Item, Source


def numbered(number: int, camera: int = 0, size: tuple[int, int] = (32, 24)) -> NDArray[np.uint8]:
    """Make a black frame of (width, height) whose first pixel holds two numbers."""
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    frame[0, 0] = number % 256, number // 256, camera
    return frame


def number_of(frame: NDArray[np.uint8]) -> int:
    return int(frame[0, 0, 0]) + 256 * int(frame[0, 0, 1])


class ToyEstimator:
    """Finds one person, whose joints lie at (number, camera); notes the size of each batch."""

    def __init__(self, seconds: float = 0.0, fail_at: int | None = None) -> None:
        self.seconds, self.fail_at = seconds, fail_at
        self.batches: list[int] = []
        self.timings = {"infer": 1.0}
        self.warm: list[threading.Thread] = []

    def warmup(self) -> None:
        self.warm.append(threading.current_thread())

    def batch(self, frames: Sequence[NDArray[np.uint8]], boxes: Any = None) -> list[Poses]:
        self.batches.append(len(frames))
        time.sleep(self.seconds)
        if self.fail_at is not None and len(self.batches) > self.fail_at:
            raise RuntimeError("the device is gone")
        return [
            Poses(
                keypoints=np.tile([number_of(frame), frame[0, 0, 2]], (1, 17, 1)),
                keypoint_scores=np.ones((1, 17)),
                boxes=[[0, 0, 9, 9]],
                scores=[0.5],
                image_size=(frame.shape[1], frame.shape[0]),
            )
            for frame in frames
        ]


class ToyCamera(Source):
    """A live source whose ``connections`` are run through one after the other, then for ever."""

    live = True
    reconnects = True

    def __init__(self, *connections: Callable[[], Iterator[Item]], name: str = "toy camera"):
        self.name = name
        self.opened = 0
        self._connections = connections

    def frames(self) -> Iterator[Item]:
        connection = self._connections[min(self.opened, len(self._connections) - 1)]
        self.opened += 1
        yield from connection()


def ticking(
    numbers: Sequence[int], camera: int = 0, every: float = 0.005, size: tuple[int, int] = (32, 24)
) -> Callable[[], Iterator[Item]]:
    """Make a connection that gives these frames at this pace."""

    def connection() -> Iterator[Item]:
        for number in numbers:
            time.sleep(every)
            yield numbered(number, camera, size), time.monotonic()

    return connection


def stream(source: Any, estimator: Any = None, **options: Any) -> PoseStream:
    return PoseStream(source, estimator or ToyEstimator(), **{"track": False, **options})


def accounted(poses_stream: PoseStream) -> None:
    for stats in poses_stream.stats:
        assert stats.shown + stats.dropped + stats.failed == stats.read


def endless(every: float = 0.001) -> Iterator[NDArray[np.uint8]]:
    for number in itertools.count():
        time.sleep(every)
        yield numbered(number)


class Collector(Sink):
    """A slow sink that notes the number of each frame, and fails at one."""

    def __init__(self, seconds: float = 0.0, fail_at: int | None = None) -> None:
        self.seconds, self.fail_at = seconds, fail_at
        self.seen: list[int] = []
        self.closed = 0

    def write(self, result: Result) -> None:
        if len(self.seen) == self.fail_at:
            raise InputError("the disk is full")
        time.sleep(self.seconds)
        self.seen.append(number_of(result.frame))

    def close(self) -> None:
        self.closed += 1
