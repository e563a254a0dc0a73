"""Two misbehaving cameras for many frames: nothing may grow, hang or get lost.

Each camera stalls, sends broken frames, changes its size and disconnects at random. The estimator
is a stand-in, so that this measures the stream and not the network. Prints and writes JSON:

    python benchmarks/soak.py --frames 10000 --output benchmarks/results/soak.json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.streaming import reader
from pcr_rt.streaming.page import LivePage
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.sinks import JsonLinesSink, VideoSink
from pcr_rt.streaming.sources import Item, Source

SIZES = [(160, 120), (320, 240), (97, 61)]


class FaultyCamera(Source):
    """Gives so many frames in all, broken ones included, over as many connections as it takes."""

    live = True
    reconnects = True

    def __init__(self, name: str, frames: int, seed: int) -> None:
        self.name = name
        self.given = self.broken = self.losses = 0
        self._frames = frames
        self._random = np.random.default_rng(seed)

    def frames(self) -> Iterator[Item]:
        if self._random.random() < 0.2:
            raise InputError("The camera is still away.")
        size = SIZES[self._random.integers(len(SIZES))]
        while self.given < self._frames:
            fate = self._random.random()
            if fate < 0.003:
                self.losses += 1
                return
            if fate < 0.005:
                time.sleep(0.2)
            if fate < 0.01:
                size = SIZES[self._random.integers(len(SIZES))]
            time.sleep(0.002)
            self.given += 1
            if fate > 0.98:
                self.broken += 1
                yield [None, np.zeros((4, 4), np.uint8)][self.given % 2], time.monotonic()
            else:
                frame = np.full((size[1], size[0], 3), self.given % 256, np.uint8)
                yield frame, time.monotonic()
        self.reconnects = False


class StandIn:
    """Finds two people in no time."""

    timings: dict[str, float] = {}  # noqa: RUF012

    def warmup(self) -> None:
        """Do nothing: there are no buffers."""

    def batch(self, frames: Sequence[NDArray[np.uint8]], boxes: Any = None) -> list[Poses]:
        time.sleep(0.002)
        return [
            Poses(
                keypoints=np.full((2, 17, 2), 30.0),
                keypoint_scores=np.ones((2, 17)),
                boxes=np.tile([10, 10, 50, 50], (2, 1)),
                scores=[0.9, 0.8],
            )
            for _ in frames
        ]


def resident_mb() -> float:
    """Read the memory of this process now; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(frames: int, folder: Path, *, samples: int = 10) -> dict[str, Any]:
    """Run both cameras to their end; ValueError if a frame is not accounted for."""
    cameras = [FaultyCamera(f"camera {seed}", frames // 2, seed) for seed in range(2)]
    page = LivePage(port=0)
    files = [JsonLinesSink(folder / "soak.jsonl"), VideoSink(folder / "soak.mp4")]
    threads_before = threading.active_count()  # the page's own included
    stream = PoseStream(list(cameras), StandIn(), sinks=[*files, page])
    seen, history = 0, []
    start = time.monotonic()
    for _ in stream:
        seen += 1
        read = sum(s.read for s in stream.stats)
        if read >= (len(history) + 1) * frames / samples:
            history.append(
                {
                    "read": read,
                    "memory_mb": round(resident_mb(), 1),
                    "threads": threading.active_count(),
                }
            )
    seconds = time.monotonic() - start
    for camera, stats in zip(cameras, stream.stats, strict=True):
        if stats.read != camera.given or stats.failed != camera.broken:
            raise ValueError(f"{stats} does not fit {camera.given} and {camera.broken}")
        if stats.shown + stats.dropped + stats.failed != stats.read:
            raise ValueError(f"{stats} does not add up")
    lines = len((folder / "soak.jsonl").read_text().splitlines())
    shown = sum(s.shown for s in stream.stats)
    missed = sum(thread.missed for thread in stream._sinks if thread.sink is files[0])
    if not shown == seen == lines + missed:
        raise ValueError(f"{shown} shown, {seen} seen, {lines} lines, {missed} missed")
    time.sleep(0.3)
    return {
        "frames": sum(c.given for c in cameras),
        "seconds": round(seconds, 1),
        "losses": [c.losses for c in cameras],
        "threads_before": threads_before,
        "threads_after": threading.active_count(),
        "sources": [asdict(s) for s in stream.stats],
        "history": history,
        "machine": machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    reader.FIRST_DELAY_S = 0.02  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        report = soak(given.frames, Path(folder))
    print(json.dumps(report, indent=2))
    write_json(given.output, report)


if __name__ == "__main__":
    main()
