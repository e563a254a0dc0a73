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
from pcr_rt.engines import Binding, DeviceEngine
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.builder import BuildOptions, usual_profiles
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.engine import TensorRTBinding, TensorRTEngine
from pcr_rt.engines.tensorrt.sidecar import Sidecar
from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import ModelSpec
from tensorrt_standin import VERSIONS
from toys import PLAIN, brightness_model, write

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
USUAL = usual_profiles(16)
EVERY = pytest.mark.parametrize("tensorrt", VERSIONS, indirect=True)


def built(path: Path, profiles: Any = USUAL, batch: int | str = "batch", **more: Any) -> Any:
    """A TensorRTEngine of the model whose maps are the red channel."""
    model = brightness_model(path / "toy.onnx", SPEC, batch=batch)
    plan, _ = cached_engine(load(), model, SPEC, BuildOptions(profiles))
    return TensorRTEngine(plan, **more)


def random_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, 64, 48), dtype=np.float32)


@EVERY
def test_every_version_builds_and_runs(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    assert isinstance(engine, DeviceEngine)
    assert (engine.device, engine.max_batch, engine.spec) == (0, 16, SPEC)
    for count in (1, 3, 16, 35):
        images = random_images(count, count)
        (heatmaps,) = engine.run(images)
        np.testing.assert_allclose(heatmaps[:, 16], images[:, 0], rtol=1e-6)
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run(random_images(1))
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
            engine.run(random_images(1))
        except InputError as error:
            refused.append(str(error))

    monkeypatch.setattr(TensorRTBinding, "enqueue", slow)
    run = threading.Thread(target=engine.run, args=(random_images(1),))
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
    first.images[...] = random_images(2, 1)
    second.images[...] = random_images(2, 2)
    for _ in range(3):
        first.enqueue(0)
        second.enqueue(0)
    for seed, binding in ((1, first), (2, second)):
        np.testing.assert_allclose(
            binding.outputs[0][:, 16], random_images(2, seed)[:, 0], rtol=1e-6
        )
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
    binding.images[...] = random_images(1, 5)
    graph.launch(stream)
    np.testing.assert_allclose(binding.outputs[0][:, 16], random_images(1, 5)[:, 0], rtol=1e-6)


@pytest.mark.parametrize("batch", [0, 17])
def test_batch_beyond_the_profile(tensorrt: Any, tmp_path: Path, batch: int) -> None:
    with pytest.raises(InputError, match="largest, 16"):
        built(tmp_path).bind(batch)


@EVERY
def test_one_person_has_a_profile_of_its_own(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    assert engine.profiles == [(1, 1, 1), (1, 4, 16)]
    assert [engine.profile_of(n) for n in (1, 2, 4, 16)] == [0, 1, 1, 1]
    chosen = [engine.bind(n)._context._profile for n in (1, 2)]
    assert chosen == [0, 1]
    assert BuildOptions().profiles == usual_profiles(16)
    assert usual_profiles(3) == ((1, 1, 1), (1, 3, 3))
    assert usual_profiles(1) == ((1, 1, 1),)
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    assert built(fixed, batch=4).profiles == [(4, 4, 4)]


def test_several_profiles(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path, ((1, 1, 1), (4, 8, 8)))
    assert [engine.profile_of(n) for n in (1, 4, 8)] == [0, 1, 1]
    with pytest.raises(InputError, match="1 to 1, 4 to 8"):
        engine.bind(2)
    for count in (1, 2, 5, 11):
        (heatmaps,) = engine.run(random_images(count))
        np.testing.assert_allclose(heatmaps[:, 16], random_images(count)[:, 0], rtol=1e-6)


@EVERY
def test_fixed_batch(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path, batch=4)
    assert engine.max_batch == 4
    assert engine.bind(3).images.shape[0] == 3
    for count in (1, 4, 6):
        (heatmaps,) = engine.run(random_images(count))
        np.testing.assert_allclose(heatmaps[:, 16], random_images(count)[:, 0], rtol=1e-6)


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
        images = random_images(3, seed)
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
    engine.run(random_images(1))
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
        engine.run(random_images(1))
    assert len(engine.memory()) == 1
    assert tensorrt.behaviour.contexts == contexts + 1
    engine.run(random_images(2))
    with pytest.raises(InputError, match="limit of 3 MB"):
        engine.run(random_images(16))


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
        binding.images[...] = random_images(binding.batch)
        binding.enqueue(0)
        np.testing.assert_allclose(
            binding.outputs[0][:, 16], random_images(binding.batch)[:, 0], rtol=1e-6
        )
    other: list[Any] = []
    thread = threading.Thread(target=lambda: other.append(engine.bind(1)), name="other")
    thread.start()
    thread.join()
    assert next(row["context"] for row in engine.memory() if row["thread"] == "other")


def test_close_waits_for_what_bindings_have_queued(tensorrt: Any, tmp_path: Path) -> None:
    engine = built(tmp_path)
    binding = engine.bind(1)
    stream = emulated_cupy.cuda.Stream()
    with stream:
        binding.enqueue(stream.ptr)
    engine.close()
    gc.collect()
    assert tensorrt.behaviour.freed_at_work == 0


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
