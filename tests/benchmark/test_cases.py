"""Which cases are opened, and that what they are called is what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt.benchmark import cases
from pcr_rt.benchmark.measure import measure
from pcr_rt.errors import InputError, ModelError
from pcr_rt.inference.detector import Detector
from stand_in_engine import StandInEngine
from toy_estimators import SPEC, draw_patches
from toys import brightness_model


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return brightness_model(tmp_path / "toy.onnx", SPEC, size=SPEC.input_size)


def test_every_file_of_a_shipped_model() -> None:
    with cases.open_cases(["pcr-tiny"], detector=None, device="cpu") as opened:
        assert [case.title for case in opened] == [
            "pcr-tiny FP32",
            "pcr-tiny FP16",
            "pcr-tiny INT8",
        ]
        for case in opened:
            assert case.estimator.spec.precision == case.precision
            assert (case.provider, case.mode, case.batch) == ("cpu", "host", 1)
            assert case.memory_mib is None or case.memory_mib < 500


def test_the_default_comes_first_and_no_detector() -> None:
    with cases.open_cases(precisions=["fp32"], detector=None, device="cpu") as opened:
        assert [case.model for case in opened] == ["pcr-tiny", "pcr-lite", "pcr-nano"]


def test_a_file_of_ones_own_in_its_precision(toy: Path) -> None:
    with cases.open_cases([toy], batches=[1, 3], detector=None, device="cpu") as opened:
        assert [case.title for case in opened] == ["toy FP32", "toy FP32 x3"]


def test_mistakes_are_sentences(toy: Path) -> None:
    with (
        pytest.raises(ModelError, match="There is no model 'pcr-tyni'"),
        cases.open_cases(["pcr-tyni"], detector=None, device="cpu"),
    ):
        pass
    with (
        pytest.raises(InputError, match="one model file"),
        cases.open_cases([toy, toy], spec=SPEC, detector=None, device="cpu"),
    ):
        pass


@pytest.mark.parametrize("capturable", [True, False])
def test_eager_and_as_a_graph_on_a_device(
    capturable: bool, toy: Path, emulated_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = StandInEngine(toy, max_batch=16, capturable=capturable)
    monkeypatch.setattr(cases, "make_engine", lambda *_, **__: engine)
    with cases.open_cases([toy], detector=None, device="cpu") as opened:
        modes = ["eager", "graph"] if capturable else ["eager"]
        assert [(c.mode, c.batch) for c in opened] == [(m, b) for m in modes for b in (1, 4, 8)]
        launched = emulated_device.Graph.launched
        eager, *graphs = opened[0], *opened[3:4]
        measure([eager], [draw_patches()], 3)
        assert emulated_device.Graph.launched == launched
        measure(graphs, [draw_patches()], 3)
        assert emulated_device.Graph.launched == launched + 4 * len(graphs)
    assert engine.closed


def test_an_eager_detector_looks_for_the_same_class(emulated_device: Any) -> None:
    engine = StandInEngine("rtmdet-nano", max_batch=1)
    found = dict(cases._modes(StandInEngine("pcr-nano"), Detector(engine, class_index=0)))
    frame = np.zeros((64, 64, 3), np.uint8)
    for estimator in found.values():
        for _ in range(3):
            estimator(frame)
    assert isinstance(found["eager"]._detector, Detector)
    assert isinstance(found["eager"]._detector.engine, cases.Eager)
