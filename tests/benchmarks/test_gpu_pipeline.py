"""The estimator's figures of gpu_check, on the emulated device: what is measured, not how fast."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("onnx")

import gpu_pipeline
from gpu_check import percentiles

from pcr_rt.errors import PoseError
from stand_in_engine import StandInEngine


@pytest.mark.slow
def test_each_count_eager_and_as_a_graph(emulated_device: Any) -> None:
    engines = StandInEngine("pcr-lite", max_batch=16), StandInEngine("rtmdet-nano", max_batch=1)
    record = gpu_pipeline.estimator_rows(
        emulated_device, ("stand-in", *engines), {"small": (320, 240)}, (1, 2), 2, percentiles
    )
    assert record["engine"] == "stand-in"
    assert record["small"].keys() == {"1", "2"}
    for people, modes in record["small"].items():
        assert modes.keys() == {"eager", "graph"}
        for row in (call for mode in modes.values() for call in mode.values()):
            assert row["people"] == int(people)
            assert row["whole"]["n"] == 2
            assert row["whole"]["p99_ms"] > 0
            assert {"detect", "infer", "suppress"} <= row["stages"].keys()
    assert emulated_device.Graph.launched > 0


def test_engines_that_record_nothing_have_no_graph(emulated_device: Any) -> None:
    engine = StandInEngine("pcr-lite", max_batch=2, capturable=False)
    record = gpu_pipeline.estimator_rows(
        emulated_device, ("stand-in", engine, None), {"small": (320, 240)}, (1,), 1, percentiles
    )
    assert record["small"]["1"].keys() == {"eager"}
    assert record["small"]["1"]["eager"].keys() == {"given"}
    assert emulated_device.Graph.launched == 0


@pytest.mark.parametrize("name", gpu_pipeline.POSES)
def test_nothing_to_run_on_is_a_sentence(name: str, emulated_device: Any) -> None:
    with pytest.raises(PoseError, match="cuda"):
        gpu_pipeline.engines(name, None)
