from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import ModelError
from pcr_rt.export import compare
from pcr_rt.export.compare import agreement
from pcr_rt.export.fp16 import export_fp16
from pcr_rt.models import WEIGHTS, model_path

SHIPPED = ["pcr-tiny", "pcr-nano", "pcr-lite", "rtmdet-nano"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_in_fp16(name: str, tmp_path: Path) -> None:
    source = WEIGHTS / f"{name}.onnx"
    spec, _ = export_fp16(source, tmp_path / "half.onnx")
    model = onnx.load(tmp_path / "half.onnx")
    weights = [w for w in model.graph.initializer if len(w.dims) == 4]
    assert {w.data_type for w in weights} == {TensorProto.FLOAT16}
    # Each weight is the nearest half of the FP32 file's, by NumPy's own rounding; those that would
    # become 0 are made the smallest half, 2^-24.
    plain = {w.name: numpy_helper.to_array(w) for w in onnx.load(source).graph.initializer}
    common = [w for w in weights if w.name in plain]
    assert len(common) > 10
    for weight in common:
        expected = plain[weight.name].astype(np.float16)
        np.testing.assert_allclose(numpy_helper.to_array(weight), expected, rtol=0, atol=2**-24)
    ends = [*model.graph.input, *model.graph.output]
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}
    assert model.opset_import[0].version <= 17
    assert spec.precision == OnnxRuntimeEngine(tmp_path / "half.onnx").spec.precision == "fp16"
    whole = OnnxRuntimeEngine(source).spec
    assert spec.calibration == whole.calibration
    assert (spec.calibration is None) == whole.is_detector


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_files_are_of_the_shipped_weights(name: str) -> None:
    files = [model_path(name, precision) for precision in ("fp32", "fp16")]
    assert files[0] != files[1]
    unit, value = agreement(*files)
    assert value > 0.98 if unit == "IoU" else value < 0.1


def test_agreement_of_a_model_with_itself() -> None:
    assert agreement(WEIGHTS / "pcr-tiny.onnx", WEIGHTS / "pcr-tiny.onnx") == ("px", 0)


def test_what_loses_too_much_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "agreement", lambda a, b: ("px", 0.31))
    with pytest.raises(ModelError, match="loses too much"):
        export_fp16(WEIGHTS / "pcr-tiny.onnx", tmp_path / "half.onnx")
    assert list(tmp_path.iterdir()) == []


def test_fp16_is_not_converted_again(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is fp16 already"):
        export_fp16(WEIGHTS / "pcr-tiny.fp16.onnx", tmp_path / "half.onnx")


def test_another_precision_than_the_file_has_is_refused() -> None:
    with pytest.raises(ModelError, match="is fp32, not fp16"):
        OnnxRuntimeEngine(WEIGHTS / "pcr-tiny.onnx", precision="fp16")
    with pytest.raises(ModelError, match="not shipped in int8"):
        OnnxRuntimeEngine("rtmdet-nano", precision="int8")


def test_the_command_line_converts(tmp_path: Path, capsys: Any) -> None:
    from pcr_rt.cli.export import export

    export(WEIGHTS / "pcr-tiny.onnx", tmp_path / "half.onnx", precision="fp16")
    assert "pcr-tiny, fp16, input 192x256" in capsys.readouterr().out


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
sys.argv = ["pcr-rt", "export", "pcr-nano", sys.argv[1], "--precision", "fp16"]
from pcr_rt.cli import main
main()
"""


def test_it_needs_no_torch(tmp_path: Path) -> None:
    output = tmp_path / "half.onnx"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(output)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert OnnxRuntimeEngine(output).spec.precision == "fp16"
    # What was trained does.
    checkpoint = tmp_path / "best.pt"
    checkpoint.touch()
    code = WITHOUT_TORCH.replace('"pcr-nano"', repr(str(checkpoint)))
    done = subprocess.run([sys.executable, "-c", code, str(output)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "'torch' is not installed: pip install \".[train]\"" in done.stderr
