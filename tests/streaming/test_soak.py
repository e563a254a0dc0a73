"""The short form of benchmarks/soak.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pcr_rt.streaming import reader

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_faulty_cameras_lose_nothing_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FIRST_DELAY_S", 0.01)
    spec = importlib.util.spec_from_file_location("soak", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    figures = module.soak(600, tmp_path)  # raises where a frame is not accounted for
    assert figures["frames"] == 600
    assert sum(s["failed"] for s in figures["sources"]) > 0
    assert figures["threads_after"] <= figures["threads_before"]
