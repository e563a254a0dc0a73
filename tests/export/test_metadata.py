from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest

from pcr_rt.calibration import Calibration
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.export.metadata import rewrite_spec
from pcr_rt.models import model_path


def test_only_the_spec_changes(tmp_path: Path) -> None:
    source, output = model_path("pcr-nano"), tmp_path / "new" / "other.onnx"
    knots = ((0.0, 0.1), (1.0, 0.9))
    spec = dataclasses.replace(
        OnnxRuntimeEngine(source, device="cpu").spec, calibration=Calibration(knots, knots)
    )
    rewrite_spec(source, spec, output)
    assert OnnxRuntimeEngine(output, device="cpu").spec == spec
    before, after = onnx.load(source), onnx.load(output)
    for model in (before, after):
        del model.metadata_props[:]
    assert before == after


def test_a_file_is_not_written_over_itself(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(model_path("pcr-nano").read_bytes())
    spec = OnnxRuntimeEngine(file, device="cpu").spec
    with pytest.raises(InputError, match="overwritten"):
        rewrite_spec(file, spec, file)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="cannot be read"):
        rewrite_spec(tmp_path / "text.onnx", spec, tmp_path / "out.onnx")
