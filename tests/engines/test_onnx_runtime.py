from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper

from pcr_rt.engines import Engine, onnx_runtime
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import ModelSpec
from toys import PLAIN, brightness_model, constant_model

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((5, 3, 64, 48), dtype=np.float32)


@pytest.mark.parametrize("batch", ["batch", 1, 2])
def test_any_number_of_images_whatever_the_models_batch(
    tmp_path: Path, images: np.ndarray, batch: int | str
) -> None:
    engine = OnnxRuntimeEngine(brightness_model(tmp_path / "m.onnx", SPEC, batch=batch))
    assert isinstance(engine, Engine)
    (heatmaps,) = engine.run(images)
    np.testing.assert_allclose(heatmaps[:, 16], images[:, 0], rtol=1e-6)
    np.testing.assert_allclose(heatmaps[:, 0], images[:, 0] / 17, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_cores_share_a_batch_in_order(tmp_path: Path, images: np.ndarray, threads: int) -> None:
    engine = OnnxRuntimeEngine(brightness_model(tmp_path / "m.onnx", SPEC), threads=threads)
    for count in (1, 2, 3, 5):
        (heatmaps,) = engine.run(images[:count])
        np.testing.assert_allclose(heatmaps[:, 16], images[:count, 0], rtol=1e-6)
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run(images)


def test_spec_comes_from_the_file_or_from_the_caller(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC)
    assert OnnxRuntimeEngine(path).spec == SPEC
    other = ModelSpec("mine", "heatmap", (48, 64), transform="msra")
    assert OnnxRuntimeEngine(path, spec=other).spec == other
    bare = brightness_model(tmp_path / "bare.onnx", None)
    assert OnnxRuntimeEngine(bare).spec.transform == "msra"


def test_file_that_contradicts_its_spec_is_refused(tmp_path: Path) -> None:
    for name, spec, joints in (
        ("joints", SPEC, 14),
        ("kind", ModelSpec("toy", "simcc", (48, 64)), 17),
        ("size", ModelSpec("toy", "heatmap", (96, 64)), 17),
    ):
        path = brightness_model(tmp_path / f"{name}.onnx", spec, joints=joints)
        with pytest.raises(ModelError, match="toy"):
            OnnxRuntimeEngine(path)


def test_broken_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = brightness_model(tmp_path / "m.onnx", SPEC).read_bytes()
    for name, content in (
        ("empty", b""),
        ("garbage", b"hello" * 99),
        ("cut", whole[: len(whole) // 2]),
    ):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError) as error:
            OnnxRuntimeEngine(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0"])
def test_unknown_device(tmp_path: Path, device: str) -> None:
    with pytest.raises(InputError, match="device"):
        OnnxRuntimeEngine(brightness_model(tmp_path / "m.onnx", SPEC), device=device)


def test_cuda_is_never_silently_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnx_runtime.ort, "get_available_providers", lambda: ["CPUExecutionProvider"]
    )
    with pytest.raises(InputError, match="onnxruntime-gpu"):
        OnnxRuntimeEngine(brightness_model(tmp_path / "m.onnx", SPEC), device="cuda")


def test_files_for_a_gpu_are_not_for_a_cpu_that_was_fallen_back_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A build of ONNX Runtime with CUDA, on a machine without."""
    listed, session = ["CUDAExecutionProvider", "CPUExecutionProvider"], onnx_runtime._session
    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: listed)
    monkeypatch.setattr(
        onnx_runtime,
        "_session",
        lambda path, threads, providers: session(path, threads, listed[1:]),
    )
    engine = OnnxRuntimeEngine("auto", device="auto")
    assert (engine.spec.name, engine.provider) == ("pcr-tiny", "cpu")
    assert OnnxRuntimeEngine("pcr-tiny", precision="int8").spec.target == "cpu"
    with pytest.raises(InputError, match="fell back to the CPU"):
        OnnxRuntimeEngine("auto", device="cuda")


def test_threads_share_an_engine(tmp_path: Path, images: np.ndarray) -> None:
    engine = OnnxRuntimeEngine(brightness_model(tmp_path / "m.onnx", SPEC))
    wrong = []

    def work(seed: int) -> None:
        mine = np.roll(images, seed, axis=0)
        for _ in range(20):
            if not np.allclose(engine.run(mine)[0][:, 16], mine[:, 0]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system counts no threads")
def test_a_closed_engine_has_no_threads(tmp_path: Path, images: np.ndarray) -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    engine = OnnxRuntimeEngine(brightness_model(tmp_path / "m.onnx", SPEC), threads=5)
    engine.run(images[:1])
    opened = threads()
    engine.close()
    assert threads() <= opened - 4  # the fifth is this one


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_goes_on(tmp_path: Path) -> None:
    """In a process of its own, since a fork of this one would copy torch's and others' threads."""
    path = brightness_model(tmp_path / "m.onnx", SPEC)
    program = f"""
import multiprocessing, numpy
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
engine = OnnxRuntimeEngine({str(path)!r}, threads=2)
images = numpy.random.default_rng(0).random((4, 3, 64, 48), dtype=numpy.float32)
expected = engine.run(images)[0]
def work(_): return numpy.array_equal(engine.run(images)[0], expected)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(work, range(4)).get(60) == [True] * 4
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_closed_engine_says_so(tmp_path: Path, images: np.ndarray) -> None:
    engine = OnnxRuntimeEngine(brightness_model(tmp_path / "m.onnx", SPEC))
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run(images)


def test_what_is_downloaded_instead_of_a_model_is_named(tmp_path: Path) -> None:
    for text, words in (
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n", "git lfs pull"),
        ("<!DOCTYPE html><html>404</html>", "is a web page"),
        ("  <HTML>404</HTML>", "is a web page"),
    ):
        (tmp_path / "model.onnx").write_text(text)
        with pytest.raises(ModelError, match=words):
            OnnxRuntimeEngine(tmp_path / "model.onnx", device="cpu")


def _model(path: Path, kind: int, shape: list[Any], inputs: int = 1, opset: int = 13) -> Path:
    """Casts its first input to float; its outputs are those of a heatmap model."""
    entries = [helper.make_tensor_value_info(f"images{i}", kind, shape) for i in range(inputs)]
    maps = numpy_helper.from_array(np.zeros((1, 17, 64, 48), np.float32), "maps")
    nodes = [helper.make_node("Identity", ["maps"], ["output"])]
    info = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 17, 64, 48])
    graph = helper.make_graph(nodes, "g", entries, [info], [maps])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("kind", "shape", "inputs", "words"),
    [
        (TensorProto.UINT8, [1, 3, 256, 192], 1, r"takes tensor\(uint8\): export it with float32"),
        (TensorProto.DOUBLE, [1, 3, 256, 192], 1, r"takes tensor\(double\)"),
        (TensorProto.FLOAT, [1, 256, 192, 3], 1, "channels last"),
        (TensorProto.FLOAT, [1, 3, 256, 192], 2, "has the inputs images0, images1"),
        (TensorProto.FLOAT, [1, 3, 256, 192], 0, "has the inputs none"),
    ],
)
def test_inputs_that_no_crop_fits_are_named_at_load(
    tmp_path: Path, kind: int, shape: list[Any], inputs: int, words: str
) -> None:
    path = _model(tmp_path / "model.onnx", kind, shape, inputs)
    with pytest.raises(ModelError, match=words):
        OnnxRuntimeEngine(path, device="cpu")


def test_the_end_of_the_runtimes_reason_is_kept(tmp_path: Path) -> None:
    path = _model(tmp_path / ("x" * 150 + ".onnx"), TensorProto.FLOAT, [1, 3, 256, 192], opset=40)
    with pytest.raises(ModelError, match=r"opset \d+\.?$"):
        OnnxRuntimeEngine(path, device="cpu")


def test_a_file_of_ultralytics_says_its_task(tmp_path: Path) -> None:
    hands = [np.zeros((1, 5 + 3 * 21, 8400))]
    path = constant_model(tmp_path / "hands.onnx", None, (640, 640), hands)
    assert OnnxRuntimeEngine(path, device="cpu").spec.layout == "yolov8"
    model = onnx.load(path)
    for key, value in (("author", "Ultralytics"), ("task", "pose"), ("kpt_shape", "[21, 3]")):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    with pytest.raises(ModelError, match="hands is a one-stage pose model"):
        OnnxRuntimeEngine(path, device="cpu")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "toy.onnx", None)
    onnx = pytest.importorskip("onnx")
    model = onnx.load(path)
    name = model.graph.input[0].name.encode()
    path.write_bytes(path.read_bytes().replace(name, b"\xe9" + name[1:]))
    with pytest.raises(ModelError, match="not UTF-8"):
        OnnxRuntimeEngine(path, device="cpu")


def test_metadata_that_is_not_utf8(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "toy.onnx", ModelSpec("toy", "heatmap", (48, 64), **PLAIN))
    data = path.read_bytes()
    assert b'"toy"' in data
    path.write_bytes(data.replace(b'"toy"', b'"t\xe9y"'))
    with pytest.raises(ModelError, match="not UTF-8"):
        OnnxRuntimeEngine(path, device="cpu")
