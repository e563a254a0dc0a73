"""The parts of benchmarks/gpu_check.py that need no GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def gpu_check():
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import gpu_check
    finally:
        sys.path.remove(folder)
    return gpu_check


def test_percentiles(gpu_check):
    found = gpu_check.percentiles([float(i) for i in range(101)])
    assert found == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "n": 101}


def test_each_byte_of_the_frame_counts_once(gpu_check):
    # Pixels 2..5 by 1..3, the same again, and one beyond the corner: 4 x 3, then 2 x 1.
    one = [[1, 0, 2], [0, 1, 1]]
    corner = [[1, 0, 18], [0, 1, 9]]
    matrices = np.array([one, one, corner], float)
    assert gpu_check.bytes_seen(matrices[:2], (4, 3), (20, 10)) == 12 * 3
    assert gpu_check.bytes_seen(matrices, (4, 3), (20, 10)) == (12 + 2) * 3
    mirrored = np.array([[[-1, 0, 5], [0, 1, 1]]], float)
    assert gpu_check.bytes_seen(mirrored, (4, 3), (20, 10)) == 12 * 3
    between = np.array([[[0.5, 0, 2.25], [0, 0.5, 1.25]]])  # 2.25 to 3.75 by 1.25 to 2.25
    assert gpu_check.bytes_seen(between, (4, 3), (20, 10)) == 3 * 3 * 3


def test_boxes_lie_in_the_frame(gpu_check):
    boxes = gpu_check.people_boxes(500, (1280, 720))
    assert boxes.shape == (500, 4)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (1280, 720)).all()
    assert gpu_check.crops_of(boxes).shape == (500, 2, 3)


def row(share, ours, torch=None):
    found = {"bandwidth_share": share, "p50_ms": ours}
    return found if torch is None else {**found, "torch": {"p50_ms": torch}}


def test_verdicts(gpu_check):
    record = {
        "pipeline": {
            "1080p": {
                "8": {"eager": {"p50_ms": 0.2}, "graph": {"p50_ms": 0.09}, "launches": 6},
            }
        },
        "kernels": {
            "fast": {"8": row(0.1, 1, 5), "512": row(0.8, 1), "4096": row(0.9, 1)},
            "slow": {"8": row(0.1, 1, 4.9), "512": row(0.79, 1), "4096": row(0.9, 1)},
            "small": {"1": row(0.1, 1)},
        },
    }
    assert gpu_check.judge(record) == {
        "around_network": True,
        "launches": True,
        "fast_bandwidth": True,
        "fast_torch": True,
        "slow_bandwidth": False,
        "slow_torch": False,
    }
    record["pipeline"]["1080p"]["8"] = {"eager": {"p50_ms": 0.11}, "launches": 7}
    assert not gpu_check.judge(record)["around_network"]
    assert not gpu_check.judge(record)["launches"]
    assert gpu_check.judge({}) == {}


def test_without_a_gpu_it_says_so(gpu_check, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    assert gpu_check.main() == 2
    assert "no GPU that CuPy can use" in capsys.readouterr().err
