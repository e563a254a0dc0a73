"""ONNX Runtime's CUDA provider in the estimator's GPU path: a stand-in here, the same on a GPU."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import cuda_onnxruntime
import onnxruntime as ort

from pcr_rt.engines import DeviceEngine
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine, cuda_options
from pcr_rt.engines.onnx_runtime_cuda import OnnxRuntimeCudaEngine, bound, run_options
from pcr_rt.errors import InputError
from pcr_rt.inference.device import DeviceStages
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.inference.loading import make_engine
from pcr_rt.models import ModelSpec
from toy_estimators import BOXES, SPEC, draw_patches
from toys import PLAIN, brightness_model, write


@pytest.fixture
def gpu(emulated_device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two GPUs, ONNX Runtime with CUDA, no TensorRT."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    found = {"name": b"Orin", "major": 8, "minor": 7, "multiProcessorCount": 16}
    found["totalGlobalMem"] = 8 << 30
    runtime = emulated_device.cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceCount", lambda: 2)
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda i: found, raising=False)
    cuda_onnxruntime.install(monkeypatch)
    return emulated_device


@pytest.fixture
def frame() -> np.ndarray:
    return draw_patches()


@pytest.mark.parametrize("batch", ["batch", 2])
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_same_people_as_on_the_cpu(
    gpu: Any, frame: np.ndarray, tmp_path: Path, device: str, batch: int | str
) -> None:
    model = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32), batch=batch)
    options: dict[str, Any] = {"detector": None, "score_threshold": 0.05, "nms": None}
    expected = PoseEstimator(model, device="cpu", **options)(frame, BOXES)
    estimator = PoseEstimator(model, device=device, **options)
    assert isinstance(estimator._stages, DeviceStages)
    assert estimator._stages.device == (1 if device == "cuda:1" else 0)
    for _ in range(3):
        gpu.synchronisations.clear()
        cuda_onnxruntime.runs.clear()
        poses = estimator(frame, BOXES)
        np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=0.01)
        np.testing.assert_allclose(poses.keypoint_scores, expected.keypoint_scores, atol=1e-3)
    # Three people: a bucket of four, or two runs of a batch of two; no run waits for the device.
    assert [waits for _, waits in cuda_onnxruntime.runs] == [False] * (1 if batch == "batch" else 2)
    assert gpu.synchronisations == ["stream"]
    assert gpu.Graph.launched == 0


def test_buffers_are_bound_once_and_a_thread_has_one_session(gpu: Any, tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))
    engine = make_engine(model, device="cuda")
    assert isinstance(engine, OnnxRuntimeCudaEngine)
    assert isinstance(engine, DeviceEngine)
    streams = [gpu.cuda.Stream(non_blocking=True) for _ in range(2)]
    bindings = [engine.bind(n) for n in (1, 4)]
    for stream in streams:
        with stream:
            for value, binding in enumerate(bindings):
                binding.images[...] = value + 1
                binding.enqueue(stream.ptr)
                binding.enqueue(stream.ptr)
                np.testing.assert_allclose(binding.outputs[0][:, 16], value + 1, rtol=1e-6)
    assert [a.shape[0] for b in bindings for a in (b.images, *b.outputs)] == [1, 1, 4, 4]
    assert len(cuda_onnxruntime.runs) == 8
    assert set(engine._sessions) == {streams[1].ptr}  # nobody has the first stream's any more
    del bindings, binding
    gc.collect()
    assert not engine._sessions


def test_cudnn_does_not_search_at_every_batch_size() -> None:
    """Its search takes seconds for each bucket of each thread, its heuristics take none."""
    assert cuda_options(1, user_compute_stream="7") == {
        "device_id": 1,
        "cudnn_conv_algo_search": "HEURISTIC",
        "user_compute_stream": "7",
    }


def test_buffers_are_made_without_a_run(gpu: Any, tmp_path: Path) -> None:
    """A run on a blank image would have cuDNN search methods for every bucket."""
    model = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))
    engine = make_engine(model, device="cuda")
    assert isinstance(engine, OnnxRuntimeCudaEngine)
    assert [engine.bind(n).outputs[0].shape for n in (1, 4)] == [(1, 17, 32, 24), (4, 17, 32, 24)]
    assert cuda_onnxruntime.host_runs == []


def test_the_shipped_detector_runs_on_the_device(gpu: Any) -> None:
    """Its file leaves height and width open; they follow from the input's size."""
    engine = make_engine("rtmdet-nano", device="cuda")
    assert isinstance(engine, OnnxRuntimeCudaEngine)
    shapes = [output.shape for output in engine.bind(2).outputs]
    assert shapes == [(2, n, n, 5) for n in (416 // 8, 416 // 16, 416 // 32)]


def nms_model(path: Path, labels: int, count: int | str) -> Path:
    """Boxes (1, count, 5) where the first image's red is above zero, and their labels."""
    from onnx import helper, numpy_helper

    values = {
        "starts": np.array([0]),
        "ends": np.array([1]),
        "axes": np.array([1]),
        "shape": np.array([1, -1, 1]),
        "five": np.array([1, 1, 5]),
        "line": np.array([1, -1]),
    }
    rows = [
        ("Slice", ["images", "starts", "ends", "axes"], "red"),
        ("NonZero", ["red"], "places"),
        ("Slice", ["places", "starts", "ends", "starts"], "some"),
        ("Reshape", ["some", "shape"], "column"),
        ("Cast", ["column"], "floats"),
        ("Tile", ["floats", "five"], "dets"),
        ("Reshape", ["some", "line"], "flat"),
        ("Cast", ["flat"], "labels"),
    ]
    types = {"floats": 1, "labels": labels}
    nodes = [
        helper.make_node(kind, take, [give], **({"to": types[give]} if kind == "Cast" else {}))
        for kind, take, give in rows
    ]
    graph = helper.make_graph(
        nodes,
        "nms",
        [helper.make_tensor_value_info("images", 1, [1, 3, 32, 24])],
        [
            helper.make_tensor_value_info("dets", 1, [1, count, 5]),
            helper.make_tensor_value_info("labels", labels, [1, count]),
        ],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    spec = ModelSpec("nms", "boxes", (24, 32), layout="dets", **PLAIN)
    return write(graph, spec, path)


@pytest.mark.parametrize(
    ("labels", "count", "words"),
    [(7, "count", "'labels' of 'nms' is a tensor(int64)"), (1, "count", "only a run can tell")],
)
def test_a_detector_with_its_own_nms_runs_on_the_host_path(
    gpu: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, labels: int, count: Any, words: str
) -> None:
    engine = make_engine(nms_model(tmp_path / "m.onnx", labels, count), device="cuda")
    assert isinstance(engine, OnnxRuntimeEngine)
    assert words in caplog.text
    images = np.zeros((1, 3, 32, 24), np.float32)
    for found in (2, 5):
        images[0, 0, 0, :found] = 1
        boxes, numbers = engine.run(images)
        assert (boxes.shape, numbers.shape) == ((1, found, 5), (1, found))


@pytest.mark.shared
def test_a_published_detector_with_its_own_nms(gpu: Any, shared: Path) -> None:
    path = shared / "models" / "rtmdet_nano_person_nms_dynamic.onnx"
    spec = ModelSpec("nms", "boxes", (320, 320), layout="dets")
    assert isinstance(make_engine(path, spec=spec, device="cuda"), OnnxRuntimeEngine)


def places_of(session: Any, images: np.ndarray, maps: np.ndarray) -> Any:
    values = (*session.get_inputs(), *session.get_outputs())
    arrays = (images, maps)
    return [
        (value.name, array.dtype, array.shape, array.ctypes.data)
        for value, array in zip(values, arrays, strict=True)
    ]


def test_binding_calls_are_those_of_the_real_library(tmp_path: Path) -> None:
    """Our own calls on the real ONNX Runtime, whose CPU provider takes them as CUDA's does."""
    path = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((2, 3, 32, 24), dtype=np.float32)
    maps = np.zeros((2, 17, 32, 24), np.float32)
    io = bound(session, "cpu", 0, places_of(session, images, maps))
    for _ in range(2):
        images += 1
        session.run_with_iobinding(io, run_options())
        np.testing.assert_allclose(maps[:, 16], images[:, 0], rtol=1e-6)


def test_the_real_binding_refuses_another_shape(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images, maps = np.zeros((2, 3, 32, 24), np.float32), np.zeros((1, 17, 32, 24), np.float32)
    io = bound(session, "cpu", 0, places_of(session, images, maps))
    with pytest.raises(Exception, match=r"(?i)shape"):
        session.run_with_iobinding(io, run_options())


def test_kernels_that_do_not_compile_leave_cuda_to_the_networks(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Any, log_stream: Any = None) -> None:
        raise RuntimeError("kernel.cu(3): error: identifier is undefined")

    monkeypatch.setattr(gpu.RawModule, "compile", refuse)
    model = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))
    for _ in range(2):
        assert isinstance(make_engine(model, device="cuda"), OnnxRuntimeEngine)
    assert len(caplog.records) == 1
    assert "kernel.cu(3): error" in caplog.text
    assert "pcr-rt doctor --json" in caplog.text


def test_threads_have_their_own_sessions(gpu: Any, frame: np.ndarray, tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))
    estimator = PoseEstimator(model, detector=None, device="cuda")
    expected, found = estimator(frame, BOXES), []

    def work() -> None:
        found.extend(estimator(frame, BOXES) for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for poses in found:
        np.testing.assert_array_equal(poses.keypoints, expected.keypoints)
    assert len({stream for stream, _ in cuda_onnxruntime.runs}) == 3


def test_closed_engine_opens_no_session(gpu: Any, tmp_path: Path) -> None:
    engine = make_engine(brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32)), device="cuda")
    assert isinstance(engine, OnnxRuntimeCudaEngine)
    binding = engine.bind(1)
    engine.close()
    with pytest.raises(InputError, match="closed"):
        binding.enqueue(7)


def test_without_cupy_crops_are_made_on_the_host_and_it_says_so(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    model = brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))
    engine = make_engine(model, device="cuda")
    assert isinstance(engine, OnnxRuntimeEngine)
    assert "crops are made on the host" in caplog.text


def test_the_default_is_pcr_lite_on_a_gpu_and_pcr_tiny_elsewhere(gpu: Any) -> None:
    engine = make_engine("auto", device="cuda")
    assert isinstance(engine, OnnxRuntimeCudaEngine)
    assert engine.spec.name == "pcr-lite"
    assert make_engine("auto", device="cpu").spec.name == "pcr-tiny"


@pytest.mark.gpu
def test_shipped_model_on_a_gpu(sample_image: Path) -> None:
    """The real provider; needs a GPU build of ONNX Runtime."""
    import onnxruntime as ort

    from pcr_rt.media import read_image

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("ONNX Runtime has no CUDA provider")
    frame = read_image(sample_image)
    engine = OnnxRuntimeCudaEngine(OnnxRuntimeEngine("pcr-tiny", device="cuda"), 0)
    found = PoseEstimator(engine)(frame)
    expected = PoseEstimator("pcr-tiny", device="cpu")(frame)
    assert len(found) == len(expected)
    shift = np.linalg.norm(found.keypoints - expected.keypoints, axis=2)
    assert np.median(shift[expected.keypoint_scores > 0.3]) < 0.3
