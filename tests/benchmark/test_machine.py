from __future__ import annotations

import importlib.metadata
import json
import mmap
from pathlib import Path

import numpy as np
import pytest

from pcr_rt.benchmark import machine


def test_what_counts_is_said_and_fits_into_json() -> None:
    found = json.loads(json.dumps(machine.describe_machine()))
    assert found["cores"] >= 1
    assert found["processor"]
    assert found["numpy"] == np.__version__
    assert found["pcr-rt"] == importlib.metadata.version("pcr-rt")
    assert "onnxruntime" in found


def test_memory_grows_by_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.resident_mib()
    if before is None:
        pytest.skip("the system does not say")
    with mmap.mmap(-1, 64 << 20) as block:  # fresh pages, not what the heap has kept
        np.frombuffer(block, np.uint8)[:] = 1
        after = machine.resident_mib()
    assert after is not None
    assert 60 < after - before < 80
    monkeypatch.setattr(machine, "STATM", Path("/nowhere"))
    assert machine.resident_mib() is None
