from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch")

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.export.calibration import calibration_images
from pcr_rt.export.compare import agreement
from pcr_rt.export.int8 import export_int8
from pcr_rt.export.model_file import write_model
from pcr_rt.media import read_image
from pcr_rt.models import ModelSpec, model_path

SPEC = ModelSpec("toy", "heatmap", (16, 24))
WIDTHS = (3, 8, 8, 17)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Three convolutions with ReLU between: random weights, each channel of its own magnitude."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "images"
    for i, (a, b) in enumerate(pairwise(WIDTHS)):
        kernel = rng.normal(size=(b, a, 3, 3)) * rng.uniform(0.02, 0.5, (b, 1, 1, 1))
        weights += [
            numpy_helper.from_array(kernel.astype(np.float32), f"w{i}"),
            numpy_helper.from_array(rng.normal(size=b).astype(np.float32), f"b{i}"),
        ]
        last = i == len(WIDTHS) - 2
        name = "maps" if last else f"c{i}"
        conv = ["Conv", [value, f"w{i}", f"b{i}"], [name]]
        nodes.append(helper.make_node(*conv, name=f"conv{i}", pads=[1, 1, 1, 1]))
        if not last:
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"], name=f"relu{i}"))
            value = f"r{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, 24, 16])
        for name, channels in (("images", 3), ("maps", 17))
    ]
    graph = helper.make_graph(nodes, "toy", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    write_model(
        helper.make_model(graph, opset_imports=opset, ir_version=9), SPEC, tmp_path / "t.onnx"
    )
    return tmp_path / "t.onnx"


@pytest.fixture
def images() -> Any:
    return np.random.default_rng(1).normal(size=(16, 3, 24, 16)).astype(np.float32)


def run(path: Path, images: Any) -> Any:
    """The outputs without any fusion: what the file itself says."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


@pytest.mark.parametrize("target", ["cpu", "gpu", "tensorrt8"])
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_a_small_network(toy: Path, images: Any, target: Any, method: Any, tmp_path: Path) -> None:
    output = tmp_path / "int8.onnx"
    lines: list[str] = []
    spec, error = export_int8(
        toy, output, images, target=target, method=method, most_error=0.5, report=lines.append
    )
    assert (spec.precision, spec.target) == ("int8", target)
    assert OnnxRuntimeEngine(output).spec == spec
    assert len(lines) >= 1 + 2  # a line for each of the two convolutions that are not the head

    before, after = run(toy, images), run(output, images)
    off = np.sqrt(np.square(after - before).mean() / np.square(before).mean())
    # 8 bits of two layers: some percent; clipped ranges (entropy) cost more.
    assert 1e-4 < off < (0.05 if method == "minmax" else 0.25)
    assert error == pytest.approx(off, rel=0.6, abs=0.01)

    model = onnx.load(output)
    assert model.opset_import[0].version == (19 if target == "gpu" else 17)
    kinds = {w.data_type for w in model.graph.initializer}
    assert (TensorProto.FLOAT16 in kinds) == (target == "gpu")
    if target == "gpu":
        assert TensorProto.FLOAT not in kinds
    signed = TensorProto.INT8 if target != "cpu" else TensorProto.UINT8
    tensors = {w.name: w for w in model.graph.initializer}
    quantisers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    activations = [n for n in quantisers if n.input[0] not in tensors]
    assert activations
    assert {tensors[n.input[2]].data_type for n in activations} == {signed}


def test_weights_have_a_scale_a_channel(toy: Path, images: Any, tmp_path: Path) -> None:
    export_int8(toy, tmp_path / "int8.onnx", images, most_error=0.5)
    plain = {w.name: numpy_helper.to_array(w) for w in onnx.load(toy).graph.initializer}
    model = onnx.load(tmp_path / "int8.onnx")
    tensors = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    for name in ("w0", "w1"):
        levels, scale = tensors[f"{name}_quantized"], tensors[f"{name}_scale"]
        assert levels.dtype == np.int8
        largest = np.abs(plain[name]).max((1, 2, 3))
        # Symmetric: the largest weight of a channel lies on level 127 of 127.
        np.testing.assert_allclose(scale, largest / 127, rtol=0.02)
        wide = scale[:, None, None, None]
        assert (np.abs(levels * wide - plain[name]) <= 0.5001 * wide).all()
    # The head is in floating point.
    assert tensors["w2"].dtype == np.float32
    np.testing.assert_array_equal(tensors["w2"], plain["w2"])


def test_what_cannot_be_converted(toy: Path, images: Any, tmp_path: Path) -> None:
    output = tmp_path / "int8.onnx"
    with pytest.raises(ModelError, match="loses too much"):
        export_int8(toy, output, images, most_error=0)
    assert not output.exists()
    export_int8(toy, output, images, most_error=0.5)
    with pytest.raises(ModelError, match="int8 already"):
        export_int8(output, tmp_path / "again.onnx", images)


def test_an_error_that_is_no_number_is_refused(
    toy: Path, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcr_rt.export.int8._error", lambda outputs, expected: float("nan"))
    with pytest.raises(ModelError, match="loses too much in INT8"):
        export_int8(toy, tmp_path / "int8.onnx", images, most_error=0.5)
    assert not (tmp_path / "int8.onnx").exists()


def test_calibration_images(tmp_path: Path, sample_image: Path) -> None:
    with pytest.raises(InputError):
        calibration_images(tmp_path, SPEC)
    (tmp_path / "a.jpg").write_bytes(sample_image.read_bytes())
    crops = calibration_images(tmp_path, SPEC)
    assert crops.shape == (1, 3, 24, 16)
    detector = OnnxRuntimeEngine("rtmdet-nano").spec
    (whole,) = calibration_images(tmp_path, detector)
    # The image fills the upper left; its first pixel is nearly that of the image.
    blue, green, red = read_image(sample_image)[0, 0]
    first = whole[:, 0, 0] * np.array(detector.std) + np.array(detector.mean)
    expected = (blue, green, red) if detector.colour == "bgr" else (red, green, blue)
    np.testing.assert_allclose(first, expected, atol=25)


def test_calibration_images_are_drawn_from_the_whole_folder(tmp_path: Path) -> None:
    for i in range(60):
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), np.full((416, 416, 3), 4 * i, np.uint8))
    detector = OnnxRuntimeEngine("rtmdet-nano").spec
    taken = calibration_images(tmp_path, detector, 12)
    grey = taken[:, 0, 0, 0] * detector.std[0] + detector.mean[0]
    drawn = np.round(grey / 4).astype(int)
    assert len(set(drawn.tolist())) == 12
    assert (np.histogram(drawn, 3, (0, 60))[0] >= 2).all()
    np.testing.assert_array_equal(calibration_images(tmp_path, detector, 12), taken)


@pytest.mark.parametrize(
    ("name", "gpu"), [("pcr-tiny", False), ("pcr-tiny", True), ("pcr-lite", True)]
)
def test_the_shipped_int8_files_are_of_the_shipped_weights(name: str, gpu: bool) -> None:
    path = model_path(name, "int8", gpu=gpu)
    spec = OnnxRuntimeEngine(path, device="cpu").spec
    assert (spec.name, spec.precision, spec.target) == (name, "int8", "gpu" if gpu else "cpu")
    unit, value = agreement(model_path(name), path)
    assert unit == "px"
    assert 0 < value < 2


def relative_error(file: Path, source: Path, images: Any) -> float:
    ours, theirs = (OnnxRuntimeEngine(f, device="cpu").run(images)[0] for f in (file, source))
    return float(np.sqrt(np.square(ours - theirs).sum() / np.square(theirs).sum()))


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_error_is_that_of_the_file(toy: Path, images: Any, tmp_path: Path, target: Any) -> None:
    _, error = export_int8(toy, tmp_path / "q.onnx", images, target=target, most_error=0.5)
    probes = images[:12]
    assert error == pytest.approx(relative_error(tmp_path / "q.onnx", toy, probes), rel=0.02)


def test_weights_beyond_fp16_are_refused(toy: Path, images: Any, tmp_path: Path) -> None:
    """The first convolution makes values that FP16 does not hold; the second takes them back."""
    model = onnx.load(toy)
    for weight in model.graph.initializer:
        factor = {"w0": 1e6, "b0": 1e6, "w1": 1e-6}.get(weight.name, 1.0)
        weight.CopyFrom(
            numpy_helper.from_array(
                (numpy_helper.to_array(weight) * factor).astype(np.float32), weight.name
            )
        )
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(ModelError, match="loses too much in FP16"):
        export_int8(tmp_path / "large.onnx", tmp_path / "q.onnx", images, target="gpu")
    assert not (tmp_path / "q.onnx").exists()
