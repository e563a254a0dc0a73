"""The parts of benchmarks/gpu_check.py that need no GPU."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import gpu_check
import kernel_jobs
import torch

from pcr_rt.doctor.check import Check


def test_percentiles():
    found = gpu_check.percentiles([float(i) for i in range(101)])
    assert found == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "n": 101}


def test_each_byte_of_the_frame_counts_once():
    # Pixels 2..5 by 1..3, the same again, and one beyond the corner: 4 x 3, then 2 x 1.
    one = [[1, 0, 2], [0, 1, 1]]
    corner = [[1, 0, 18], [0, 1, 9]]
    matrices = np.array([one, one, corner], float)
    assert kernel_jobs.bytes_seen(matrices[:2], (4, 3), (20, 10)) == 12 * 3
    assert kernel_jobs.bytes_seen(matrices, (4, 3), (20, 10)) == (12 + 2) * 3
    mirrored = np.array([[[-1, 0, 5], [0, 1, 1]]], float)
    assert kernel_jobs.bytes_seen(mirrored, (4, 3), (20, 10)) == 12 * 3
    between = np.array([[[0.5, 0, 2.25], [0, 0.5, 1.25]]])  # 2.25 to 3.75 by 1.25 to 2.25
    assert kernel_jobs.bytes_seen(between, (4, 3), (20, 10)) == 3 * 3 * 3


def test_boxes_lie_in_the_frame():
    boxes = kernel_jobs.people_boxes(500, (1280, 720))
    assert boxes.shape == (500, 4)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (1280, 720)).all()
    assert kernel_jobs.crops_of(boxes).shape == (500, 2, 3)


def row(share, ours, torch=None):
    found = {"bandwidth_share": share, "p50_ms": ours}
    return found if torch is None else {**found, "torch": {"p50_ms": torch}}


def test_verdicts():
    record = {
        "pipeline": {
            "1080p": {
                "8": {"eager": {"p50_ms": 0.2}, "graph": {"p50_ms": 0.09}, "launches": 7},
            }
        },
        "kernels": {
            "crop_persons_fast": {"8": row(0.1, 1, 5), "512": row(0.8, 1), "4096": row(0.9, 1)},
            "decode_heatmaps_slow": {"8": row(0.1, 1, 4.9), "512": row(0.79, 1), "4096": row(1, 1)},
            "oks_nms": {"8": row(0.1, 1, 50), "512": row(0.01, 1)},  # moves little: no target
            "crop_persons_small": {"1": row(0.1, 1)},
        },
    }
    assert gpu_check.judge(record) == {
        "around_network": True,
        "launches": True,
        "crop_persons_fast_bandwidth": True,
        "crop_persons_fast_torch": True,
        "decode_heatmaps_slow_bandwidth": False,
        "decode_heatmaps_slow_torch": False,
        "oks_nms_torch": True,
    }
    record["pipeline"]["1080p"]["8"] = {"eager": {"p50_ms": 0.11}, "launches": 8}
    assert not gpu_check.judge(record)["around_network"]
    assert not gpu_check.judge(record)["launches"]
    assert gpu_check.judge({}) == {}


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    assert gpu_check.main() == 2
    assert "no GPU that CuPy can use" in capsys.readouterr().err


@pytest.fixture
def whole_cupy(emulated_device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The emulated device with what only the measurements need of CuPy."""
    cp = emulated_device
    kernel = cp.RawKernel

    def raw_kernel(*arguments: str) -> Any:
        return kernel(*arguments) if len(arguments) == 1 else lambda grid, block, args: None

    def random(shape: tuple[int, ...], dtype: Any) -> Any:
        return cp.asarray(np.random.default_rng(0).random(shape, dtype))

    monkeypatch.setattr(cp, "RawKernel", raw_kernel)
    monkeypatch.setattr(cp, "__version__", "emulated", raising=False)
    monkeypatch.setattr(cp, "random", type("random", (), {"random": random}), raising=False)
    monkeypatch.setattr(cp, "full", lambda *a: cp.asarray(np.full(*a)), raising=False)
    for name in set(np.__all__) - set(dir(cp)):  # what the rivals use
        monkeypatch.setattr(cp, name, getattr(np, name), raising=False)
    monkeypatch.setattr(cp.Device, "attributes", {"L2CacheSize": 4096}, raising=False)
    runtime = cp.cuda.runtime
    facts = {"name": b"Emulated GPU", "major": 9, "minor": 0}
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda device: facts, raising=False)
    for name in ("driverGetVersion", "runtimeGetVersion"):
        monkeypatch.setattr(runtime, name, lambda: 13000, raising=False)
    return cp


def test_the_device_spins_while_the_host_queues_the_work(
    whole_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued: list[Any] = []
    cp = whole_cupy

    def kernel(source: str, name: str) -> Any:
        assert f"void {name}(long long" in source
        return lambda grid, block, arguments: queued.append((name, *arguments))

    class Event(cp.Event):
        def record(self, stream: Any = None) -> None:
            queued.append("event")

    monkeypatch.setattr(cp, "RawKernel", kernel)
    monkeypatch.setattr(cp.cuda, "Event", Event)
    monkeypatch.setattr(gpu_check, "COPIED", 1 << 12)
    timer = gpu_check.Timer(cp, 1)
    timer(lambda: queued.append("work"))
    assert queued[-4:] == [("spin", 2_000_000), "event", "work", "event"]
    assert type(queued[-4][1]) is np.int64

    def slow() -> None:
        time.sleep(0.004)
        queued.append("work")

    timer(slow)
    assert queued[-4][1] >= 8_000_000


class TorchOnTheHost:
    """torch as if it had a GPU; its arrays lie on the host."""

    cuda = SimpleNamespace(current_stream=lambda: SimpleNamespace(cuda_stream=0))

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def as_tensor(array: Any, device: str) -> torch.Tensor:
        assert device == "cuda"
        return torch.as_tensor(array)


@pytest.mark.slow
def test_the_whole_command_on_the_emulated_device(
    whole_cupy: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(gpu_check, "COUNTS", (1, 8))
    monkeypatch.setattr(kernel_jobs, "FRAME", (320, 180))
    monkeypatch.setattr(kernel_jobs, "MOST_FRAMES", 1)
    # Only the kernels find it: the estimator has no engine here.
    found = iter([TorchOnTheHost()])
    monkeypatch.setattr(gpu_check, "cuda_torch", lambda: next(found, None))
    monkeypatch.setattr(gpu_check, "PEOPLE", (1, 8))
    monkeypatch.setattr(gpu_check, "diagnose", lambda: [Check("GPU", "ok", "emulated")])
    monkeypatch.setattr(gpu_check, "COPIED", 1 << 12)
    timer = gpu_check.Timer.__call__
    monkeypatch.setattr(gpu_check.Timer, "__call__", lambda self, work, n=1: timer(self, work, 1))
    monkeypatch.setattr(gpu_check, "WARMUP", 1)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--output", str(tmp_path), "--quick"])
    assert gpu_check.main() == 0
    record = json.loads((tmp_path / "emulated-gpu.json").read_text())
    assert record["compute_capability"] == "9.0"
    assert record["doctor"] == [{"name": "GPU", "status": "ok", "detail": "emulated", "remedy": ""}]
    assert record["limits"].keys() == {"copy_gb_per_s", "launch"}
    names = {
        f"{kernel}_{dtype}"
        for kernel in ("crop_persons", "letterbox", "decode_heatmaps", "decode_simcc")
        for dtype in ("float32", "float16")
    } | {"decode_boxes", "box_nms", "oks_nms"}
    of_keypoints = {name for name in names if name.startswith(("decode_h", "decode_s", "oks"))}
    names |= {f"{name}_{keypoints}" for name in of_keypoints for keypoints in (21, 133)}
    assert record["kernels"].keys() == names | {"place_people"}
    for name, rows in record["kernels"].items():
        assert rows.keys() == ({"1"} if name.startswith("letterbox") else {"1", "8"})
        for row in rows.values():
            times = {"p50_ms", "p95_ms", "p99_ms"}
            assert times | {"bandwidth_share"} <= row.keys()
            assert times <= row["cupy"].keys() & row["torch"].keys()
    # By hand: 17 maps of 48 x 64 float32, and 12 bytes a keypoint.
    assert record["kernels"]["decode_heatmaps_float32"]["1"]["compulsory_bytes"] == 17 * 12300
    bytes_of_hands = record["kernels"]["decode_heatmaps_float32_21"]["1"]["compulsory_bytes"]
    assert bytes_of_hands == 21 * 12300
    # A frame of 320x180 and an image of 416x416 in half precision.
    letterbox = record["kernels"]["letterbox_float16"]["1"]["compulsory_bytes"]
    assert letterbox == 3 * 320 * 180 + 2 * 3 * 416 * 416
    # 17 points of two float32, area and score in float64.
    assert record["kernels"]["oks_nms"]["8"]["compulsory_bytes"] == 8 * (136 + 16)
    assert record["pipeline"].keys() == {"720p", "1080p"}
    for people in record["pipeline"].values():
        assert people.keys() == {"1", "8"}
        for row in people.values():
            assert row["launches"] == 7
            assert len(row["stages"]) == 7
            assert {"eager", "graph"} <= row.keys(), row.get("graph_error")
            for times in (*row["stages"].values(), row["eager"], row["graph"]):
                assert {"p50_ms", "p95_ms", "p99_ms"} <= times.keys()
    assert record["estimator"].keys() == {"pcr-lite", "pcr-tiny"}
    for found in record["estimator"].values():
        assert "left_out" in found  # no engine runs on the emulated device by itself
    assert {"around_network", "launches"} <= record["verdict"].keys()
