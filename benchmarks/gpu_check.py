"""Measures the CUDA kernels on the GPU at hand and writes one JSON file per device.

Run: python benchmarks/gpu_check.py [--output FOLDER] [--quick]

Needs CuPy; the torch comparison runs if a CUDA build of torch is installed. Each kernel is timed
by CUDA events, with the L2 cache flushed between runs (kernel_jobs.py), and set against

- the device's copy bandwidth, measured here, for its compulsory bytes (each input byte once, plus
  the output),
- the launch floor: an empty kernel,
- the same operation in CuPy's array functions, and in torch (rivals.py: grid_sample,
  interpolate, topk).

The pipeline around the network is timed at 1 to 16 people of a 720p and a 1080p frame, launched one
by one and as a CUDA graph; so is PoseEstimator from a frame on the device to its people, with
pcr-lite and pcr-tiny, on TensorRT, ONNX Runtime's CUDA provider or torch, the first that is there.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from gpu_pipeline import POSES, engines, estimator_rows
from kernel_jobs import JOINTS, MAP, detector_outputs, jobs, people_boxes

from pcr_rt import __version__
from pcr_rt.cuda_kernels import kernels
from pcr_rt.cuda_kernels.kernels import launch
from pcr_rt.doctor.diagnosis import diagnose
from pcr_rt.errors import PoseError
from rivals import CROP, LETTERBOX, MEAN, PADDING, STD, cuda_torch

COUNTS = (1, 8, 64, 512, 4096)
PEOPLE = (1, 4, 8, 16)
FRAMES = {"720p": (1280, 720), "1080p": (1920, 1080)}
WARMUP = 5
COPIED = 1 << 28
"""Bytes whose copy tells the bandwidth; what clears the cache has as many at least."""
MOVERS = ("crop_persons", "decode_heatmaps")
"""What the target of bandwidth is for: kernels that move megabytes."""
TARGETS = {"around_network_ms": 0.1, "launches": 7, "bandwidth_share": 0.8, "torch_ratio": 5.0}


def percentiles(times_ms: list[float]) -> dict[str, float]:
    """Give P50, P95 and P99 of times, and how many there are."""
    p50, p95, p99 = np.percentile(times_ms, (50, 95, 99))
    return {"p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99), "n": len(times_ms)}


def judge(record: dict[str, Any]) -> dict[str, bool]:
    """Tell which targets a device's record meets; those not measured are left out."""
    verdict = {}
    pipeline = record.get("pipeline", {}).get("1080p", {}).get("8")
    if pipeline:
        best = min(pipeline[mode]["p50_ms"] for mode in ("eager", "graph") if mode in pipeline)
        verdict["around_network"] = best <= TARGETS["around_network_ms"]
        verdict["launches"] = pipeline["launches"] <= TARGETS["launches"]
    for name, rows in record.get("kernels", {}).items():
        large = [row["bandwidth_share"] for n, row in rows.items() if int(n) >= 512]
        if large and name.startswith(MOVERS):
            verdict[f"{name}_bandwidth"] = min(large) >= TARGETS["bandwidth_share"]
        if "torch" in rows.get("8", {}):
            ratio = rows["8"]["torch"]["p50_ms"] / rows["8"]["p50_ms"]
            verdict[f"{name}_torch"] = ratio >= TARGETS["torch_ratio"]
    return verdict


SPIN = r"""
extern "C" __global__ void spin(long long nanoseconds) {
    long long start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    while (now - start < nanoseconds);
}
"""
LEAST_SPIN_S = 0.002


class Timer:
    """Times work on the device by events, in turn with writes that clear the L2 cache.

    Before each run the device spins, for 2 ms and for twice the time that the host takes to queue
    the work, so that the host's own pace does not count.
    """

    def __init__(self, cp: Any, repeats: int) -> None:
        self.cp, self.repeats = cp, repeats
        self.spin = cp.RawKernel(SPIN, "spin")
        cache = cp.cuda.Device().attributes["L2CacheSize"]
        self.scratch = cp.empty(max(8 * cache, COPIED), np.uint8)

    def __call__(self, work: Callable[[], Any], repeats: int | None = None) -> dict[str, float]:
        """Time ``work`` in milliseconds, with a cold cache."""
        cp = self.cp
        queueing = 0.0
        for _ in range(WARMUP):
            start = time.perf_counter()
            work()
            queueing = time.perf_counter() - start
        spinning = np.int64(1e9 * max(LEAST_SPIN_S, 2 * queueing))
        times = []
        for _ in range(repeats or self.repeats):
            self.scratch.fill(0)
            self.spin((1,), (1,), (spinning,))
            begin, end = cp.cuda.Event(), cp.cuda.Event()
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(cp.cuda.get_elapsed_time(begin, end))
        return percentiles(times)


def limits(cp: Any, timer: Timer) -> dict[str, Any]:
    """Measure the device's copy bandwidth and launch floor."""
    source = cp.zeros(COPIED, np.uint8)
    target = cp.empty_like(source)
    copy = timer(lambda: cp.copyto(target, source))
    empty = cp.RawKernel('extern "C" __global__ void nothing() {}', "nothing")
    return {
        "copy_gb_per_s": 2 * source.nbytes / copy["p50_ms"] / 1e6,
        "launch": timer(lambda: empty((1,), (32,), ())),
    }


def kernel_rows(cp: Any, timer: Timer, bandwidth: float, quick: bool) -> dict[str, Any]:
    """Time every kernel at each count, with its rivals up to 64."""
    torch = cuda_torch()
    rows: dict[str, dict[str, Any]] = {}
    for n in COUNTS[:3] if quick else COUNTS:
        for job in jobs(cp, n):
            row: dict[str, Any] = {**timer(job.work), "compulsory_bytes": job.compulsory_bytes}
            row["bandwidth_share"] = job.compulsory_bytes / row["p50_ms"] / 1e6 / bandwidth
            if n <= 64:
                row["cupy"] = timer(lambda j=job: j.in_cupy(cp, *j.inputs), 20)
            if torch and n <= 64:
                inputs = [torch.as_tensor(cp.asnumpy(a), device="cuda") for a in job.inputs]
                stream = kernels.stream_of(torch.cuda.current_stream().cuda_stream)
                with stream:
                    row["torch"] = timer(lambda j=job, i=inputs: j.in_torch(torch, *i), 20)
            rows.setdefault(job.name, {})[str(n)] = row
    return rows


@contextmanager
def kernels_counted() -> Iterator[list[str]]:
    """Collect the names of the kernels that this process launches in the meantime."""
    names: list[str] = []
    find = launch._kernel

    def counted(name: str, device: int) -> Any:
        names.append(name)
        return find(name, device)

    launch._kernel = counted
    try:
        yield names
    finally:
        launch._kernel = find


def pipeline(cp: Any, timer: Timer, frame_size: tuple[int, int], people: int) -> dict[str, Any]:
    """Time everything around the two networks for one frame on the device, stage by stage."""
    rng = np.random.default_rng(0)
    frame = kernels.frame_table([rng.integers(0, 256, (*frame_size[::-1], 3), np.uint8)])
    boxes = cp.asarray(people_boxes(people, frame_size))
    outputs = detector_outputs(cp, 1, people * 4)
    maps = cp.random.random((people, JOINTS, MAP[1], MAP[0]), dtype=np.float32)
    scores = cp.asarray(rng.random(people))
    first = cp.asarray([0, people], np.int32)
    where: dict[str, Any] = {"size": CROP, "transform": "udp", "padding": PADDING, "grid": MAP}
    places = kernels.place_people(boxes, first, **where)
    scale, size = np.array([LETTERBOX[0] / frame_size[0]]), np.array([frame_size])
    options = {"input_size": LETTERBOX, "score_threshold": 0.2}
    found = kernels.decode_boxes_padded(outputs, "rtmdet", scale, size, **options)
    keypoints, sure = kernels.decode_heatmaps(maps, places.to_frame, method="dark")

    stages: dict[str, Callable[[], Any]] = {
        "letterbox": lambda: kernels.letterbox(frame, LETTERBOX, MEAN, STD),
        "decode_boxes": lambda: kernels.decode_boxes_padded(
            outputs, "rtmdet", scale, size, **options
        ),
        "box_nms": lambda: kernels.box_nms_padded(found, 0.6, 100),
        "place_people": lambda: kernels.place_people(boxes, first, **where),
        "crop_persons": lambda: kernels.crop_persons(
            frame, places.frame_index, places.crops[0], CROP, MEAN, STD
        ),
        "decode_heatmaps": lambda: kernels.decode_heatmaps(maps, places.to_frame, method="dark"),
        "oks_nms": lambda: kernels.oks_nms_padded(
            keypoints, scores, places.areas, first, method="hard", keypoint_scores=sure
        ),
    }

    def everything() -> list[Any]:
        return [work() for work in stages.values()]

    with kernels_counted() as launched:
        everything()
    result: dict[str, Any] = {
        "stages": {name: timer(work) for name, work in stages.items()},
        "eager": timer(everything),
        "launches": len(launched),
    }
    try:
        graph, _keep_alive = captured(cp, everything)
        result["graph"] = timer(graph.launch)
    except Exception as error:
        result["graph_error"] = f"{type(error).__name__}: {error}"
    return result


def captured(cp: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """Record ``work`` as a CUDA graph; return it and the arrays that it writes to."""
    pool = cp.cuda.MemoryPool()
    stream = cp.cuda.Stream(non_blocking=True)
    with cp.cuda.using_allocator(pool.malloc), stream:
        work()
        stream.synchronize()
        stream.begin_capture()
        results = work()
        graph = stream.end_capture()
    return graph, (results, pool)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("gpu-check"))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and sizes")
    arguments = parser.parse_args()
    try:
        import cupy as cp

        properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
    except Exception as error:
        print(f"There is no GPU that CuPy can use: {error}", file=sys.stderr)
        return 2
    name = properties["name"].decode()
    timer = Timer(cp, 30 if arguments.quick else 200)
    record: dict[str, Any] = {
        "device": name,
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "pcr_rt": __version__,
            "cupy": cp.__version__,
            "python": platform.python_version(),
            "driver": cp.cuda.runtime.driverGetVersion(),
            "runtime": cp.cuda.runtime.runtimeGetVersion(),
        },
        "limits": limits(cp, timer),
    }
    bandwidth = record["limits"]["copy_gb_per_s"]
    record["kernels"] = kernel_rows(cp, timer, bandwidth, arguments.quick)
    record["pipeline"] = {
        label: {str(n): pipeline(cp, timer, size, n) for n in PEOPLE}
        for label, size in FRAMES.items()
    }
    estimator = record["estimator"] = {}
    for pose in POSES:
        try:
            estimator[pose] = estimator_rows(
                cp, engines(pose, cuda_torch()), FRAMES, PEOPLE, timer.repeats, percentiles
            )
        except PoseError as error:
            estimator[pose] = {"left_out": str(error)}
    record["doctor"] = [asdict(check) for check in diagnose()]
    record["verdict"] = judge(record)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{name.replace(' ', '-').lower()}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{path}: {json.dumps(record['verdict'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
