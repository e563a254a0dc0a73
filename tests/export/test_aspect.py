"""Means over the input that count the grey that is left out are those of the whole square."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from pcr_rt.errors import ModelError
from pcr_rt.export.aspect import export_any_aspect
from pcr_rt.models import METADATA_KEY, ModelSpec
from toys import PLAIN

FILL = 114.0
SPEC = ModelSpec("toy", "boxes", (64, 64), layout="rtmdet", fill=FILL, **PLAIN)


def detector(
    path: Path, spec: ModelSpec = SPEC, *, means: bool = True, open_sides: bool = True
) -> Path:
    """Write a detector whose three maps hold the image's mean everywhere, a channel each."""
    side: Any = ("h", "w") if open_sides else (64, 64)
    nodes, outputs = [], []
    mean = helper.make_node("GlobalAveragePool", ["images"], ["mean"], name="mean")
    if means:
        nodes.append(mean)
    weight = np.eye(5, 3, dtype=np.float32)[:, :, None, None]
    source = ["images", "mean"] if means else ["images", "images"]
    nodes.append(helper.make_node("Sub", ["images", "images"], ["zero"]))
    nodes.append(helper.make_node("Add", ["zero", source[1]], ["spread"]))
    for i, stride in enumerate((8, 16, 32)):
        nodes.append(
            helper.make_node("Conv", ["spread", "weight"], [f"c{i}"], strides=[stride, stride])
        )
        nodes.append(helper.make_node("Transpose", [f"c{i}"], [f"maps{i}"], perm=[0, 2, 3, 1]))
        shape = ["n", f"h{i}", f"w{i}", 5]
        outputs.append(helper.make_tensor_value_info(f"maps{i}", TensorProto.FLOAT, shape))
    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, *side])
    weights = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "means", [entry], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    onnx.save(model, path)
    return path


def images() -> np.ndarray:
    return np.random.default_rng(0).random((2, 3, 64, 64), np.float32)


@pytest.mark.parametrize("shape", [(36, 64), (64, 40), (64, 64), (32, 32)])
def test_the_mean_is_that_of_the_square(
    shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcr_rt.export.aspect.write_if_alike", _written)
    spec, words = export_any_aspect(detector(tmp_path / "a.onnx"), tmp_path / "b.onnx", images())
    assert spec.any_aspect
    assert words.startswith("1 means")
    session = ort.InferenceSession(str(tmp_path / "b.onnx"), providers=["CPUExecutionProvider"])
    part = np.random.default_rng(1).random((1, 3, *shape), np.float32)
    side = max(shape)
    square = np.full((1, 3, side, side), FILL / 255, np.float32)
    square[:, :, : shape[0], : shape[1]] = part
    maps = session.run(None, {"images": part})[0]
    np.testing.assert_allclose(maps[0, 0, 0, :3], square.mean(axis=(0, 2, 3)), rtol=1e-5)


def _written(model: Any, spec: ModelSpec, output: Path, *_: Any, **__: Any) -> str:
    onnx.save(model, output)
    return "alike"


def test_files_that_it_is_not_for(tmp_path: Path) -> None:
    wide = ModelSpec("toy", "boxes", (64, 32), layout="rtmdet", **PLAIN)
    for path, words in (
        (detector(tmp_path / "1.onnx", open_sides=False), "no detector of a square input"),
        (detector(tmp_path / "2.onnx", wide), "no detector of a square input"),
        (detector(tmp_path / "3.onnx", means=False), "no means over its input"),
    ):
        with pytest.raises(ModelError, match=words):
            export_any_aspect(path, tmp_path / "out.onnx", images())
    assert not (tmp_path / "out.onnx").exists()
