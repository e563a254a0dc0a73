"""Files of others become model files: free batch and size, the ModelSpec of a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

import onnxruntime as ort
from typer.testing import CliRunner

from pcr_rt.cli import app
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.export.adopt import adopt_onnx
from pcr_rt.models import ModelSpec, model_path
from pcr_rt.spec_file import read_spec
from toys import PLAIN, brightness_model

TOY = {"name": "toy", "kind": "heatmap", "input_size": [48, 64]}
# As the authors of MMPose publish it: BGR, ImageNet's mean and deviation, letterboxed with grey.
RTMDET = {
    "name": "rtmdet-nano",
    "kind": "boxes",
    "layout": "rtmdet",
    "input_size": [416, 416],
    "colour": "bgr",
    "mean": [103.53, 116.28, 123.675],
    "std": [57.375, 57.12, 58.395],
    "fill": 114,
    "person_score": "mean",
    "provenance": {"licence": "Apache-2.0", "source": "OpenMMLab RTMDet-nano person"},
}


def write(folder: Path, table: Any) -> Path:
    path = folder / "spec.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return path


def test_foreign_files_get_a_free_batch_and_a_spec(tmp_path: Path) -> None:
    spec = ModelSpec("foreign", "heatmap", (48, 64), transform="msra", **PLAIN)
    source = brightness_model(tmp_path / "source.onnx", None, batch=1)
    adopt_onnx(source, spec, tmp_path / "adopted.onnx")
    images = np.random.default_rng(0).random((3, 3, 64, 48), dtype=np.float32)
    engine = OnnxRuntimeEngine(tmp_path / "adopted.onnx", device="cpu")
    assert engine.spec == spec
    np.testing.assert_allclose(engine.run(images)[0][:, 16], images[:, 0], rtol=1e-6)
    session = ort.InferenceSession(str(tmp_path / "adopted.onnx"))
    assert len(session.run(None, {"images": images})[0]) == 3


def test_another_size_than_the_files_is_tried(tmp_path: Path) -> None:
    spec = ModelSpec("foreign", "heatmap", (24, 32), **PLAIN)
    source = brightness_model(tmp_path / "source.onnx", None, batch=1)
    adopt_onnx(source, spec, tmp_path / "adopted.onnx")
    images = np.random.default_rng(0).random((2, 3, 32, 24), dtype=np.float32)
    found = OnnxRuntimeEngine(tmp_path / "adopted.onnx", device="cpu").run(images)[0]
    np.testing.assert_allclose(found[:, 16], images[:, 0], rtol=1e-6)
    # A constant map of the file's own size is added: no other size will do.
    model = onnx.load(source)
    size = onnx.numpy_helper.from_array(np.ones((1, 3, 64, 48), np.float32), "size")
    model.graph.initializer.append(size)
    for node in model.graph.node:
        node.input[:] = ["sum" if name == "images" else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Add", ["images", "size"], ["sum"]))
    onnx.save(model, source)
    with pytest.raises(ModelError, match="does not run on two images of 24x32"):
        adopt_onnx(source, spec, tmp_path / "fixed.onnx")
    assert not (tmp_path / "fixed.onnx").exists()


def test_what_cannot_be_adopted_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    spec = ModelSpec("foreign", "heatmap", (48, 64), **PLAIN)
    source = brightness_model(tmp_path / "source.onnx", None, batch=1)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    output = tmp_path / "adopted.onnx"
    with pytest.raises(ModelError, match="cannot be read"):
        adopt_onnx(tmp_path / "broken.onnx", spec, output)
    with pytest.raises(ModelError, match="contradict"):
        adopt_onnx(source, ModelSpec("simcc", "simcc", (48, 64), **PLAIN), output)
    assert not output.exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[", "not valid JSON"),
        ([1], "must be a table"),
        ({"name": "toy"}, "needs the key 'kind'"),
        ({**TOY, "size": 3}, "no key 'size'; allowed are name, kind, input_size"),
        ({**TOY, "input_size": [48]}, "input_size = .*: give a list of 2 numbers"),
        ({**TOY, "input_size": [48, 64.5]}, "give a list of 2 numbers"),
        ({**TOY, "mean": 3}, "give a list of 3 numbers"),
        ({**TOY, "fill": "grey"}, "fill = 'grey': give a number"),
        ({**TOY, "padding": True}, "give a number"),
        ({**TOY, "colour": ["rgb"]}, "give a string"),
        ({**TOY, "provenance": "mine"}, "give a table"),
        ({**TOY, "kind": "maps"}, "kind = 'maps'; allowed are heatmap"),
        ({**TOY, "std": [0, 1, 1]}, "give 3 numbers of 1e-06 to"),
    ],
)
def test_bad_specs_are_one_sentence(tmp_path: Path, table: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_spec(write(tmp_path, table))
    assert "spec.json" in str(caught.value)
    with pytest.raises(InputError, match=r"gone\.json cannot be read"):
        read_spec(tmp_path / "gone.json")


def test_the_command_refuses_a_spec_for_a_run(tmp_path: Path) -> None:
    command = ["export", "best.pt", str(tmp_path / "a.onnx"), "--spec", str(write(tmp_path, TOY))]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, InputError)
    assert "leave it out for a run" in str(done.exception)


@pytest.mark.shared
def test_the_shipped_detector_is_made_anew(shared: Path, tmp_path: Path) -> None:
    source = shared / "models/rtmdet_nano_person_raw_320.onnx"
    output = tmp_path / "rtmdet-nano.onnx"
    command = ["export", str(source), str(output), "--spec", str(write(tmp_path, RTMDET))]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    shipped = model_path("rtmdet-nano", "fp32")
    assert onnx.load(output).graph == onnx.load(shipped).graph
    engines = [OnnxRuntimeEngine(path, device="cpu") for path in (output, shipped)]
    assert engines[0].spec == engines[1].spec
    images = np.random.default_rng(0).normal(size=(2, 3, 320, 416)).astype(np.float32)
    for ours, theirs in zip(*(engine.run(images) for engine in engines), strict=True):
        np.testing.assert_array_equal(ours, theirs)
