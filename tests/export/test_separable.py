"""Merged convolutions compute what ONNX Runtime computes with the separate ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from pcr_rt.cli import app
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import ModelError
from pcr_rt.export import compare
from pcr_rt.export.separable import export_plain, merge_separable
from pcr_rt.inference.agreement import SAMPLE, person_crops
from pcr_rt.media import read_image
from pcr_rt.models import WEIGHTS

CHANNELS, WIDTH, HEIGHT = 6, 20, 24


def separable(
    *,
    depthwise: dict[str, Any] | None = None,
    pointwise: dict[str, Any] | None = None,
    kernel: int = 3,
    second: int = 1,
    biases: tuple[bool, bool] = (True, True),
    between: str = "",
    outputs: tuple[str, ...] = ("y",),
) -> Any:
    """A model of a depthwise convolution ("c") and another one behind it ("y"), 6 to 5 channels."""
    rng = np.random.default_rng(0)
    group = (pointwise or {}).get("group", 1)
    shapes = {
        "w1": (CHANNELS, 1, kernel, kernel),
        "b1": (CHANNELS,),
        "w2": (4 if group > 1 else 5, CHANNELS // group, second, second),
        "b2": (4 if group > 1 else 5,),
    }
    first = ["x", "w1", "b1"][: 2 + biases[0]]
    behind = ["r" if between else "c", "w2", "b2"][: 2 + biases[1]]
    nodes = [helper.make_node("Conv", first, ["c"], **{"group": CHANNELS, **(depthwise or {})})]
    if between:
        nodes.append(helper.make_node(between, ["c"], ["r"]))
    nodes.append(helper.make_node("Conv", behind, ["y"], **(pointwise or {})))
    weights = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
        if name in first + behind
    }
    graph = helper.make_graph(
        nodes,
        "separable",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: Any) -> Any:
    x = np.random.default_rng(1).normal(size=(2, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(
    "options",
    [
        {"depthwise": {"pads": [1, 1, 1, 1]}},
        {"depthwise": {"pads": [1, 1, 1, 1], "strides": [2, 2]}},
        {"depthwise": {"pads": [0, 0, 1, 1], "strides": [2, 1]}},
        {"depthwise": {"pads": [2, 2, 2, 2], "dilations": [2, 2]}},
        {"depthwise": {"auto_pad": "SAME_UPPER"}, "kernel": 5},
        {"depthwise": {"pads": [1, 1, 1, 1]}, "biases": (False, True)},
        {"depthwise": {"pads": [1, 1, 1, 1]}, "biases": (True, False)},
        {"depthwise": {"pads": [1, 1, 1, 1]}, "biases": (False, False)},
        {"depthwise": {"pads": [1, 1, 1, 1]}, "pointwise": {"kernel_shape": [1, 1]}},
    ],
)
def test_one_convolution_for_two(options: dict[str, Any]) -> None:
    model = separable(**options)
    expected = run(model)
    assert merge_separable(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, strict_mode=True))
    np.testing.assert_allclose(run(model), expected, atol=1e-4)
    assert np.abs(expected).max() > 5


PADS = {"pads": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    "options",
    [
        {"depthwise": PADS, "between": "Relu"},
        {"depthwise": PADS, "outputs": ("y", "c")},
        {"depthwise": PADS, "pointwise": {"strides": [2, 2]}},
        {"depthwise": PADS, "pointwise": PADS},
        {"depthwise": PADS, "pointwise": {"group": 2}},
        {"depthwise": PADS, "second": 3},
        # 6 x 5 pixels.
        {"depthwise": {**PADS, "strides": [4, 4]}},
    ],
)
def test_what_stays_as_it_is(options: dict[str, Any]) -> None:
    model = separable(**options)
    before = model.SerializeToString()
    assert merge_separable(model) == 0
    assert model.SerializeToString() == before


def test_weights_that_are_no_constants_stay() -> None:
    model = separable(depthwise=PADS)
    weight = model.graph.initializer.pop(0)
    assert weight.name == "w1"
    model.graph.input.append(
        helper.make_tensor_value_info("w1", TensorProto.FLOAT, list(weight.dims))
    )
    assert merge_separable(model) == 0


def test_weights_of_constant_nodes_are_merged() -> None:
    model = separable(depthwise=PADS)
    expected = run(model)
    weight = model.graph.initializer.pop(0)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w1"], value=weight))
    assert merge_separable(model) == 1
    np.testing.assert_allclose(run(model), expected, atol=1e-4)


def test_pcr_lite_is_pcr_tiny_in_plain_convolutions() -> None:
    tiny, lite = (OnnxRuntimeEngine(name, device="cpu") for name in ("pcr-tiny", "pcr-lite"))
    images = person_crops(read_image(SAMPLE), tiny.spec)
    expected = tiny.run(images)[0]
    np.testing.assert_allclose(lite.run(images)[0], expected, atol=1e-5)
    assert np.abs(expected).max() > 0.5
    places = {}
    model = onnx.shape_inference.infer_shapes(onnx.load(WEIGHTS / "pcr-lite.onnx"))
    for value in model.graph.value_info:
        dims = value.type.tensor_type.shape.dim
        places[value.name] = dims[-2].dim_value * dims[-1].dim_value if len(dims) == 4 else 0
    depthwise = {
        places[node.output[0]]
        for node in model.graph.node
        if node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute)
    }
    assert depthwise == {8 * 6}  # of the coarsest branch


def export(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)


def test_the_command_makes_the_shipped_file(tmp_path: Path) -> None:
    output = tmp_path / "pcr-lite.onnx"
    answer = export(WEIGHTS / "pcr-tiny.onnx", output, "--plain")
    assert answer.exit_code == 0
    assert "pcr-lite, fp32, input 192x256" in answer.stdout
    assert "84 separable convolutions merged" in answer.stdout
    made, shipped = (onnx.load(path) for path in (output, WEIGHTS / "pcr-lite.onnx"))
    specs = [OnnxRuntimeEngine(path).spec for path in (output, WEIGHTS / "pcr-lite.onnx")]
    assert specs[0] == specs[1]
    read = {name for node in made.graph.node for name in node.input}
    assert {weight.name for weight in made.graph.initializer} <= read
    weights = [
        {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        for model in (made, shipped)
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])


def test_plain_and_fp16_in_one_command(tmp_path: Path) -> None:
    output = tmp_path / "small.onnx"
    answer = export(WEIGHTS / "pcr-nano.onnx", output, "--plain", "--precision", "fp16")
    assert answer.exit_code == 0
    spec = OnnxRuntimeEngine(output, device="cpu").spec
    assert (spec.name, spec.precision) == ("small", "fp16")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [("pcr-lite", "no separable"), ("rtmdet-nano", "no separable"), ("pcr-tiny.fp16", "is fp16")],
)
def test_files_that_do_not_suit(source: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        export_plain(WEIGHTS / f"{source}.onnx", tmp_path / "plain.onnx", "plain")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [("px", 0.011), ("IoU", 0.998)])
def test_what_moves_is_not_written(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "agreement", lambda a, b: value)
    with pytest.raises(ModelError, match="loses too much"):
        export_plain(WEIGHTS / "pcr-nano.onnx", tmp_path / "plain.onnx", "plain")
    assert not list(tmp_path.iterdir())
