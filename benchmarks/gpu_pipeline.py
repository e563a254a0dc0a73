"""PoseEstimator from a frame on the device to its people, by number of people; for gpu_check."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from pcr_rt.benchmark.cases import Eager
from pcr_rt.benchmark.frames import made_frame
from pcr_rt.engines import DeviceEngine, Engine
from pcr_rt.errors import PoseError
from pcr_rt.inference.detector import Detector
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.inference.loading import make_engine
from pcr_rt.models import ModelSpec

Summary = Callable[[list[float]], dict[str, float]]
WARMUP = 3
POSES = ("pcr-lite", "pcr-tiny")
"""The default on a GPU, and the same function in separable convolutions."""
TORCH_POSE = "pcr-tiny"


def engines(name: str, torch: Any) -> tuple[str, Engine, Engine | None]:
    """Choose what runs the networks: its name, a pose engine and, if there is one, a detector's.

    name: of a shipped pose model. Without TensorRT and a CUDA build of ONNX Runtime torch runs
    pcr-tiny's network with fresh weights, which take as long as trained ones. Raises PoseError
    if there is nothing.
    """
    try:
        pose, detector = (make_engine(model, device="cuda") for model in (name, "rtmdet-nano"))
    except PoseError:
        if not torch or name != TORCH_POSE:
            raise
    else:
        if isinstance(pose, DeviceEngine):
            return type(pose).__name__, pose, detector
    from pcr_rt.training.networks.registry import build
    from pcr_rt.training.torch_engine import TorchDeviceEngine

    network = build(name).eval().to("cuda")
    spec = ModelSpec(name, "heatmap", (192, 256), transform="msra", sigma=2.0)
    return "torch (development), fresh weights, no detector", TorchDeviceEngine(network, spec), None


def estimator_rows(
    cp: Any,
    found: tuple[str, Engine, Engine | None],
    sizes: dict[str, tuple[int, int]],
    counts: tuple[int, ...],
    repeats: int,
    summary: Summary,
) -> dict[str, Any]:
    """Time whole calls and their stages in milliseconds: eager, and as graphs if they record.

    ``given``: with the caller's boxes; ``detected``: with the detector, if it finds ``people``.
    """
    words, pose, detector = found
    record: dict[str, Any] = {"engine": words}
    for label, size in sizes.items():
        rows = record[label] = {}
        for people in counts:
            frame, boxes = made_frame(size, people)
            there = cp.asarray(frame)
            row = rows[str(people)] = {}
            for mode, estimator in _modes(pose, detector):
                calls = {"given": lambda e=estimator, f=there, b=boxes: e(f, b)}
                if detector is not None:
                    calls["detected"] = lambda e=estimator, f=there: e(f)
                row[mode] = {
                    name: _timed(call, estimator, repeats, summary) for name, call in calls.items()
                }
    return record


def _modes(pose: Any, detector: Any) -> Iterator[tuple[str, PoseEstimator]]:
    for mode in ("eager", "graph"):
        both = (pose, detector)
        if mode == "eager":
            both = tuple(Eager(e) if isinstance(e, DeviceEngine) else e for e in both)
        elif not pose.bind(1).capturable:
            return
        finder = None if both[1] is None else Detector(both[1])
        estimator = PoseEstimator(both[0], detector=finder)
        estimator.stage_events = True
        yield mode, estimator


def _timed(
    call: Callable[[], Any], estimator: PoseEstimator, repeats: int, summary: Summary
) -> dict[str, Any]:
    for _ in range(WARMUP):
        people = len(call())
    whole: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        whole.append((time.perf_counter() - start) * 1e3)
        for stage, milliseconds in estimator.timings.items():
            stages[stage].append(milliseconds)
    return {
        "people": people,
        "whole": summary(whole),
        "stages": {stage: summary(times) for stage, times in stages.items()},
    }
