"""The engine code end to end on the stand-ins of every version."""

from __future__ import annotations

import dataclasses
import gc
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import emulated_cupy
from pcr_rt.cli.build import build
from pcr_rt.engines import Binding, DeviceEngine
from pcr_rt.engines.gpu import Gpus
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.builder import BuildOptions
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.engine import TensorRTBinding, TensorRTEngine
from pcr_rt.engines.tensorrt.sidecar import Sidecar
from pcr_rt.errors import InputError, MissingDependencyError, ModelError
from pcr_rt.inference import loading
from pcr_rt.inference.loading import make_engine
from pcr_rt.models import ModelSpec
from tensorrt_standin import VERSIONS
from toys import PLAIN, brightness_model, write

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
EVERY = pytest.mark.parametrize("tensorrt", VERSIONS, indirect=True)


def built(
    path: Path, profiles: Any = ((1, 4, 16),), batch: int | str = "batch", **more: Any
) -> Any:
    """A TensorRTEngine of the model whose maps are the red channel."""
    model = brightness_model(path / "toy.onnx", SPEC, batch=batch)
    plan, _ = cached_engine(load(), model, SPEC, BuildOptions(profiles))
    return TensorRTEngine(plan, **more)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, 64, 48), dtype=np.float32)


@EVERY
def test_every_version_builds_and_runs(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    assert isinstance(engine, DeviceEngine)
    assert (engine.device, engine.max_batch, engine.spec) == (0, 16, SPEC)
    for count in (1, 3, 16, 35):
        images = pictures(count, count)
        (heatmaps,) = engine.run(images)
        np.testing.assert_allclose(heatmaps[:, 16], images[:, 0], rtol=1e-6)
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run(pictures(1))
    with pytest.raises(InputError, match="closed"):
        engine.bind(1)
    engine.close()


def test_close_waits_for_a_run_and_lets_no_other_begin(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = built(tmp_path)
    running, go_on = threading.Event(), threading.Event()
    enqueue, contexts, refused = TensorRTBinding.enqueue, [], []

    def slow(self: Any, stream: Any) -> None:
        enqueue(self, stream)
        running.set()
        assert go_on.wait(20)
        contexts.append(self._context)

    def late() -> None:
        try:
            engine.run(pictures(1))
        except InputError as error:
            refused.append(str(error))

    monkeypatch.setattr(TensorRTBinding, "enqueue", slow)
    run = threading.Thread(target=engine.run, args=(pictures(1),))
    run.start()
    assert running.wait(20)
    close = threading.Thread(target=engine.close)
    close.start()
    while not engine._closed:
        close.join(0.001)
    other = threading.Thread(target=late)
    other.start()
    other.join(20)
    assert close.is_alive()
    go_on.set()
    for thread in (run, close):
        thread.join(20)
    assert len(contexts) == 1
    assert contexts[0] is not None
    assert len(refused) == 1
    assert "closed" in refused[0]


@EVERY
def test_precision_is_read_back(tensorrt: Any, tmp_path: Path) -> None:
    import onnx

    from pcr_rt import models

    file = models.model_path("pcr-lite", "fp16")
    plan, _ = cached_engine(load(), file, _spec("pcr-lite", "fp16"), BuildOptions())
    sidecar = Sidecar.read(plan)
    # Every convolution at least; what else is counted depends on the version.
    convolutions = [n for n in onnx.load(file).graph.node if n.op_type == "Conv"]
    assert sidecar.types["HALF"] >= len(convolutions) > 60
    assert sidecar.types_from == ("network" if load().is_rtx else "inspector")


def _spec(name: str, precision: Any) -> ModelSpec:
    return OnnxRuntimeEngine(name, device="cpu", precision=precision).spec


def test_fp16_engine_that_is_fp32_is_refused(tensorrt: Any) -> None:
    from pcr_rt import models

    tensorrt.behaviour.types = ["FLOAT"] * 9
    with pytest.raises(ModelError, match="not fp16"):
        cached_engine(load(), models.model_path("pcr-lite", "fp16"), _spec("pcr-lite", "fp16"))


@EVERY
def test_bindings_stay_where_they_are(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    first: Binding = engine.bind(2)
    second = engine.bind(2)
    assert first.capturable == (not engine.api.is_rtx)
    assert first.images.shape == (2, 3, 64, 48)
    assert hasattr(first.images, "__cuda_array_interface__")
    first.images[...] = pictures(2, 1)
    second.images[...] = pictures(2, 2)
    for _ in range(3):
        first.enqueue(0)
        second.enqueue(0)
    for seed, binding in ((1, first), (2, second)):
        np.testing.assert_allclose(binding.outputs[0][:, 16], pictures(2, seed)[:, 0], rtol=1e-6)
    engine.close()
    with pytest.raises(InputError, match="closed"):
        first.enqueue(0)


def test_work_can_be_recorded(tensorrt: Any, tmp_path: Path) -> None:
    binding = built(tmp_path).bind(1)
    stream = emulated_cupy.cuda.Stream()
    with stream:
        stream.begin_capture()
        binding.enqueue(stream.ptr)
        graph = stream.end_capture()
    binding.images[...] = pictures(1, 5)
    graph.launch(stream)
    np.testing.assert_allclose(binding.outputs[0][:, 16], pictures(1, 5)[:, 0], rtol=1e-6)


@pytest.mark.parametrize("batch", [0, 17])
def test_batch_beyond_the_profile(tensorrt: Any, tmp_path: Path, batch: int) -> None:
    with pytest.raises(InputError, match="largest, 16"):
        built(tmp_path).bind(batch)


def test_several_profiles(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path, ((1, 1, 1), (4, 8, 8)))
    assert [engine.profile_of(n) for n in (1, 4, 8)] == [0, 1, 1]
    with pytest.raises(InputError, match="1 to 1, 4 to 8"):
        engine.bind(2)
    for count in (1, 2, 5, 11):
        (heatmaps,) = engine.run(pictures(count))
        np.testing.assert_allclose(heatmaps[:, 16], pictures(count)[:, 0], rtol=1e-6)


@EVERY
def test_fixed_batch(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path, batch=4)
    assert engine.max_batch == 4
    assert engine.bind(3).images.shape[0] == 3
    for count in (1, 4, 6):
        (heatmaps,) = engine.run(pictures(count))
        np.testing.assert_allclose(heatmaps[:, 16], pictures(count)[:, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((1, 3, 64, 47), np.float32), "takes"),
        (np.zeros((0, 3, 64, 48), np.float32), "takes"),
        (np.zeros((1, 3, 64, 48), complex), "complex"),
        (np.zeros((3, 64, 48), np.float32), "takes"),
    ],
)
def test_images_of_other_shape_or_type(
    tensorrt: Any, tmp_path: Path, images: Any, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        built(tmp_path).run(images)


def test_threads_have_their_own_contexts(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    wrong = []

    def work(seed: int) -> None:
        images = pictures(3, seed)
        for _ in range(20):
            if not np.allclose(engine.run(images)[0][:, 16], images[:, 0]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,), name=f"t{i}") for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert tensorrt.behaviour.contexts == 1 + 3  # the first is the inspector's


@pytest.mark.parametrize("tensorrt", ["8.6.1", "10.3.0", "11.4.0.106", "rtx-1.7.1"], indirect=True)
def test_memory_is_told_and_limited(tensorrt: Any, tmp_path: Path) -> None:
    """The stand-in needs 64 KiB for each image; 8.6 and RTX take those of the largest batch."""
    engine = built(tmp_path, memory_limit_mb=3)
    contexts = tensorrt.behaviour.contexts
    engine.run(pictures(1))
    (row,) = engine.memory()
    pixels = 64 * 48 * 4
    is_largest = tensorrt.__version__ in ("8.6.1", "1.7.1")
    assert row == {
        "thread": "MainThread",
        "batch": 1,
        "buffers": (3 + 17) * pixels,
        "context": (16 if is_largest else 1) << 16,
    }
    for _ in range(50):
        engine.run(pictures(1))
    assert len(engine.memory()) == 1
    assert tensorrt.behaviour.contexts == contexts + 1
    engine.run(pictures(2))
    with pytest.raises(InputError, match="limit of 3 MB"):
        engine.run(pictures(16))


@pytest.mark.parametrize(
    ("tensorrt", "images"),
    [("8.6.1", (16, 16)), ("10.3.0", (4, 4 + 16)), ("11.4.0.106", (4, 4 + 16))],
    indirect=["tensorrt"],
)
def test_a_thread_has_one_block_of_memory_for_its_contexts(
    tensorrt: Any, tmp_path: Path, images: tuple[int, int]
) -> None:
    """A smaller batch works in the block of a larger one; 8.6's first block fits every batch.

    images: how many the thread's memory holds before and after the largest batch comes.
    """
    engine = built(tmp_path)
    bindings = [engine.bind(n) for n in (4, 2, 1)]
    rows = engine.memory()
    assert [row["batch"] for row in rows] == [1, 2, 4]
    assert sum(row["context"] for row in rows) == images[0] << 16
    larger = engine.bind(16)
    assert sum(row["context"] for row in engine.memory()) == images[1] << 16
    for binding in (*bindings, larger):
        binding.images[...] = pictures(binding.batch)
        binding.enqueue(0)
        np.testing.assert_allclose(
            binding.outputs[0][:, 16], pictures(binding.batch)[:, 0], rtol=1e-6
        )
    other: list[Any] = []
    thread = threading.Thread(target=lambda: other.append(engine.bind(1)), name="other")
    thread.start()
    thread.join()
    assert next(row["context"] for row in engine.memory() if row["thread"] == "other")


def test_the_comparison_leaves_no_buffers(tensorrt: Any, tmp_path: Path) -> None:
    engine = make_engine(brightness_model(tmp_path / "toy.onnx", SPEC), device="cuda")
    assert isinstance(engine, TensorRTEngine)
    assert Sidecar.read(engine.plan).agreement
    gc.collect()
    assert engine.memory() == []
    np.testing.assert_allclose(engine.run(pictures(2))[0][:, 16], pictures(2)[:, 0], rtol=1e-6)


def test_close_waits_for_what_bindings_have_queued(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    binding = engine.bind(1)
    stream = emulated_cupy.cuda.Stream()
    with stream:
        binding.enqueue(stream.ptr)
    engine.close()
    gc.collect()
    assert tensorrt.behaviour.freed_at_work == 0


@pytest.mark.parametrize("tensorrt", ["8.6.1"], indirect=True)
def test_8_6_gives_a_second_context_no_profile(tensorrt: Any, tmp_path: Path) -> None:
    """The stand-in's contract: without a profile of its own it refuses every shape."""
    engine = built(tmp_path)
    first, second = (
        engine.engine.create_execution_context_without_device_memory() for _ in range(2)
    )
    shape = (1, 3, 64, 48)
    assert first.set_input_shape("images", shape)
    assert not second.set_input_shape("images", shape)
    assert second.set_optimization_profile_async(0, 0)
    assert second.set_input_shape("images", shape)
    assert engine.bind(2).images.shape[0] == engine.bind(2).images.shape[0] == 2


def test_outputs_that_depend_on_the_image_are_refused_before_a_build(
    tensorrt: Any, tmp_path: Path
) -> None:
    import onnx

    entry = onnx.helper.make_tensor_value_info("images", 1, ["batch", 3, 64, 48])
    found = onnx.helper.make_tensor_value_info("found", onnx.TensorProto.INT64, [4, "count"])
    nodes = [onnx.helper.make_node("NonZero", ["images"], ["found"])]
    model = write(onnx.helper.make_graph(nodes, "nms", [entry], [found]), SPEC, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"depends on the image \(NON_ZERO inside\)"):
        cached_engine(load(), model, SPEC, BuildOptions())
    assert tensorrt.behaviour.builds == 0


def broken_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, log_stream: Any = None) -> None:
        raise RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: no such file")

    monkeypatch.setattr(emulated_cupy.RawModule, "compile", refuse)


def test_kernels_that_do_not_compile_are_found_before_minutes_are_spent(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    broken_nvrtc(monkeypatch)
    monkeypatch.setattr(loading, "look_for_gpus", lambda: Gpus(names=["Orin"]))
    for _ in range(2):
        engine = make_engine(model, device="auto")
        assert isinstance(engine, OnnxRuntimeEngine)
    assert len(caplog.records) == 1
    assert "though there is a GPU" in caplog.text
    assert "pcr-rt[cuda12]" in caplog.text
    with pytest.raises(InputError, match=r"libnvrtc\.so\.12.*NVRTC and CUDA's headers") as error:
        make_engine(model, device="cuda")
    assert "\n" not in str(error.value)
    with pytest.raises(MissingDependencyError, match="cannot be compiled"):
        loading.tensorrt_engine(model)
    assert tensorrt.behaviour.builds == 0


def test_a_machine_without_a_gpu_is_not_told_so(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken_nvrtc(monkeypatch)
    monkeypatch.setattr(loading, "look_for_gpus", lambda: Gpus("there is no NVIDIA driver"))
    make_engine(brightness_model(tmp_path / "toy.onnx", SPEC), device="auto")
    assert not caplog.records


@pytest.mark.parametrize("tensorrt", ["rtx-1.7.1"], indirect=True)
def test_a_gpu_that_rtx_makes_no_kernels_for(tensorrt: Any) -> None:
    tensorrt.behaviour.gpu.update(major=9, minor=0)
    assert "no kernels for compute capability 9.0" in loading.tensorrt_problem("cuda")
    tensorrt.behaviour.gpu.update(major=8, minor=9)
    assert loading.tensorrt_problem("cuda") == ""


@pytest.mark.parametrize("tensorrt", ["rtx-1.7.1"], indirect=True)
def test_rtx_keeps_its_kernels(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    engine.run(pictures(1))
    engine.close()
    again = TensorRTEngine(engine.plan)
    assert tensorrt.behaviour.kernels == b"kernels"
    again.close()
    file = engine.plan.with_name(f"{engine.plan.name}.runtime-cache")
    file.write_bytes(b"kernels of somebody else")
    tensorrt.behaviour.kernels = b""
    TensorRTEngine(engine.plan).close()
    assert tensorrt.behaviour.kernels == b""


def test_engine_given_by_its_path(tensorrt: Any, tmp_path: Path) -> None:
    plan = built(tmp_path).plan
    engine = make_engine(plan, device="cuda")
    assert engine.spec == SPEC
    with pytest.raises(InputError, match="needs a GPU"):
        make_engine(plan, device="cpu")
    with pytest.raises(InputError, match="no cuda:1"):
        make_engine(plan, device="cuda:1")


def test_estimator_takes_tensorrt_and_says_so(
    tensorrt: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    engine = make_engine(model, device="auto")
    assert isinstance(engine, TensorRTEngine)
    assert "may take minutes" in caplog.text
    assert Sidecar.read(engine.plan).agreement
    caplog.clear()
    make_engine(model, device="cuda")
    assert tensorrt.behaviour.builds == 1
    assert not caplog.text


def test_the_default_on_tensorrt_is_pcr_lite_in_fp16(tensorrt: Any) -> None:
    engine = make_engine("auto", device="auto")
    assert isinstance(engine, TensorRTEngine)
    assert (engine.spec.name, engine.spec.precision) == ("pcr-lite", "fp16")
    assert "shift" in Sidecar.read(engine.plan).agreement or "relative" in (
        Sidecar.read(engine.plan).agreement
    )


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_the_estimator_takes_the_engine_that_build_made(tensorrt: Any, precision: Any) -> None:
    build("pcr-nano", precision)
    assert tensorrt.behaviour.builds == 1
    engine = make_engine("pcr-nano", device="cuda", precision=precision)
    assert isinstance(engine, TensorRTEngine)
    assert engine.spec.precision == ("fp16" if precision == "auto" else precision)
    assert tensorrt.behaviour.builds == 1


def test_engine_that_computes_something_else_is_set_aside(
    tensorrt: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    tensorrt.behaviour.distort = lambda maps: np.roll(maps, 2, axis=3)
    engine = make_engine(model, device="auto")
    assert isinstance(engine, OnnxRuntimeEngine)
    assert "differs too much" in caplog.text
    assert "ONNX Runtime is used instead" in caplog.text
    for _ in range(2):
        with pytest.raises(ModelError, match="differs too much"):
            make_engine(model, device="cuda")
    assert tensorrt.behaviour.builds == 1


def test_without_a_gpu_the_reason_is_told(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    monkeypatch.setattr(emulated_cupy.cuda.runtime, "getDeviceCount", lambda: 0)
    assert isinstance(make_engine(model, device="auto"), OnnxRuntimeEngine)
    with pytest.raises(InputError, match="TensorRT is no way out: There is no cuda:0"):
        make_engine(model, device="cuda")
    tensorrt.behaviour.has_driver = False
    with pytest.raises(ModelError, match="NVIDIA GPU and its driver"):
        cached_engine(load(), model, SPEC, device=None)


def test_messages_of_tensorrt_are_log_lines(
    tensorrt: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "pcr_rt"):
        built(tmp_path)
    assert "Local timing cache in use." in caplog.text


@pytest.mark.parametrize("tensorrt", ["8.6.1"], indirect=True)
def test_phases_on_8_6_come_from_the_log(tensorrt: Any, tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    told: list[Any] = []
    cached_engine(load(), model, SPEC, progress=lambda *step: told.append(step))
    assert told == [("Local timing cache in use.", 0, None)]


def test_spec_of_the_caller(tensorrt: Any, tmp_path: Path) -> None:
    other = dataclasses.replace(SPEC, name="mine", transform="msra")
    assert built(tmp_path, spec=other).spec == other
    with pytest.raises(ModelError, match="as its spec says"):
        built(tmp_path, spec=dataclasses.replace(SPEC, input_size=(96, 64)))
