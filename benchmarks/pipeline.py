"""Milliseconds a frame from image to people, split by stage, on a clip; the models in turns.

python benchmarks/pipeline.py [--clip FILE] [--frames 60] [--peers FOLDER] [--output FILE]

--peers: a folder with ``models/`` (rtmdet_nano_person_nms_dynamic.onnx, tinypose_256x192.onnx) and
``tools/`` (detectors.py, teachers.py: each model behind a plain Python call, one person at a time,
as many threads as we use). It adds the same two networks run by that code, and PP-TinyPose run by
PCR-RT.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import describe, machine, write_json
from numpy.typing import NDArray

from pcr_rt import PoseEstimator
from pcr_rt.annotate import SAMPLE_CLIP
from pcr_rt.media import VideoReader

BOX_THRESHOLD = 0.3
PAUSE_S = 0.1
Call = Callable[[NDArray[np.uint8]], int]


def peer(folder: Path, threads: int) -> Call:
    sys.path.insert(0, str(folder / "tools"))
    from detectors import RTMDetEnd2End
    from teachers import HeatmapPose

    models = folder / "models"
    detect = RTMDetEnd2End(str(models / "rtmdet_nano_person_nms_dynamic.onnx"), 416, threads)
    pose = HeatmapPose(str(models / "tinypose_256x192.onnx"), flip=False, threads=threads)

    def call(frame: NDArray[np.uint8]) -> int:
        boxes = [box for box in detect(frame) if box[4] >= BOX_THRESHOLD]
        for x1, y1, x2, y2, _ in boxes:
            pose(frame, [x1, y1, x2 - x1, y2 - y1])
        return len(boxes)

    return call


def ours(estimator: PoseEstimator, stages: defaultdict[str, list[float]]) -> Call:
    def call(frame: NDArray[np.uint8]) -> int:
        people = len(estimator(frame))
        for stage, milliseconds in estimator.timings.items():
            stages[stage].append(milliseconds)
        return people

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, default=SAMPLE_CLIP)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with VideoReader(args.clip) as video:
        frames = [frame for frame, _ in video]
    frames = frames[:: max(len(frames) // args.frames, 1)]
    info = machine()
    models: dict[str, str | Path] = {name: name for name in ("pcr-tiny", "pcr-nano")}
    if args.peers:
        models["PP-TinyPose in PCR-RT"] = args.peers / "models" / "tinypose_256x192.onnx"
    stages: dict[str, defaultdict[str, list[float]]] = {n: defaultdict(list) for n in models}
    calls = {n: ours(PoseEstimator(m, device="cpu"), stages[n]) for n, m in models.items()}
    if args.peers:
        calls["PP-TinyPose, plain Python"] = peer(args.peers, info["cores"])
    total: dict[str, list[float]] = {name: [] for name in calls}
    people = dict.fromkeys(calls, 0)
    for call in calls.values():
        call(frames[0])
    for timings in stages.values():
        timings.clear()
    for frame in frames:
        for name, call in calls.items():
            # The peer's ONNX Runtime workers spin for a while after a call and would slow the next.
            time.sleep(PAUSE_S)
            start = time.perf_counter()
            people[name] += call(frame)
            total[name].append((time.perf_counter() - start) * 1e3)
    rows: dict[str, dict[str, Any]] = {}
    for name, values in total.items():
        split = {s: round(float(np.median(v)), 2) for s, v in stages.get(name, {}).items()}
        rows[name] = {"ms": describe(values), "people": people[name], "stages_ms": split}
        figures = rows[name]["ms"]
        print(
            f"{name:27s} median {figures['median']:6.1f} ms a frame, p95 {figures['p95']:6.1f},"
            f" {people[name] / len(frames):.2f} people a frame  "
            + "  ".join(f"{stage} {value:.1f}" for stage, value in split.items())
        )
    write_json(args.output, {"machine": info, "frames": len(frames), "models": rows})


if __name__ == "__main__":
    main()
