"""Milliseconds a frame of each stage of a stream on clips, and CPU load.

    python benchmarks/stream_stages.py clip.mp4 [clip.mp4 ...] --frames 60 --output stages.json

A clip may begin later: clip.mp4@680 leaves out its first 680 frames.

Stages run in different threads, so their sum is not the time a frame takes. ``cpu`` is processor
seconds by wall seconds: 1 is one core. Results go to a video, JSON lines and nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from numpy.typing import NDArray

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.media import VideoReader
from pcr_rt.streaming.sinks import JsonLinesSink, VideoSink


def frames_of(clip: str, count: int) -> Iterator[NDArray[np.uint8]]:
    path, _, skipped = clip.partition("@")
    with VideoReader(path) as video:
        first = int(skipped or 0)
        for frame, _ in itertools.islice(video, first, first + count):
            yield frame


def measure(estimator: PoseEstimator, clip: str, frames: int, **options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        sinks = [VideoSink(f"{folder}/a.mp4"), JsonLinesSink(f"{folder}/a.jsonl")]
        stream = PoseStream(frames_of(clip, frames), estimator, sinks=sinks, **options)
        people = []
        wall, cpu = time.perf_counter(), time.process_time()
        for _, poses in stream:
            people.append(len(poses))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "clip": Path(clip).name,
        "size": stream.stats[0].size,
        "people": [min(people), round(float(np.mean(people)), 1), max(people)],
        "frames": len(people),
        "fps": round(len(people) / wall, 2),
        "cpu": round(cpu / wall, 2),
        "ms_per_frame": {k: round(v / len(people), 2) for k, v in stream.stages_ms.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    info = machine()
    with PoseEstimator() as estimator:
        estimator.warmup()
        rows = [
            {"track": track, **measure(estimator, clip, given.frames, track=track)}
            for clip in given.clips
            for track in (False, True)
        ]
    print(json.dumps(rows, indent=2))
    write_json(given.output, {"machine": info, "clips": rows})


if __name__ == "__main__":
    main()
