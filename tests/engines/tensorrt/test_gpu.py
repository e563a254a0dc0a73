"""What only a GPU with TensorRT and CuPy can show."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.sidecar import Sidecar
from pcr_rt.inference.loading import tensorrt_engine

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def pair(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A TensorRT engine of pcr-lite, and ONNX Runtime with the same file."""
    pytest.importorskip("cupy")
    folder: Path = tmp_path_factory.mktemp("engines")
    engine: Any = tensorrt_engine("pcr-lite", precision=request.param, cache_dir=folder)
    yield engine, OnnxRuntimeEngine("pcr-lite", device="cpu", precision=request.param)
    engine.close()


def noise(count: int, spec: Any) -> np.ndarray:
    width, height = spec.input_size
    return np.random.default_rng(count).standard_normal((count, 3, height, width), np.float32)


@pytest.mark.parametrize("count", [1, 3, 16, 17])
def test_equals_onnx_runtime(pair: Any, count: int) -> None:
    engine, expected = pair
    images = noise(count, engine.spec)
    (maps,), (wanted,) = engine.run(images), expected.run(images)
    assert maps.shape == wanted.shape
    # TF32, which FP32 engines may use, has the mantissa of FP16.
    assert np.abs(maps - wanted).max() < 0.03 * np.abs(wanted).max()


def test_sidecar_tells_types_and_agreement(pair: Any) -> None:
    engine, _ = pair
    sidecar = Sidecar.read(engine.plan)
    assert sidecar.agreement
    assert sidecar.types_from == ("network" if engine.api.is_rtx else "inspector")
    most = max(sidecar.types, key=lambda name: sidecar.types[name])
    assert most == ("HALF" if engine.spec.precision == "fp16" else "FLOAT")


def test_batches_of_a_thread_share_memory_and_do_not_disturb_each_other(pair: Any) -> None:
    import cupy

    engine, _ = pair
    bindings = [engine.bind(n) for n in (8, 4, 1)]
    inputs = [noise(binding.batch, engine.spec) for binding in bindings]
    wanted = [engine.run(one)[0] for one in inputs]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        for binding, one in zip(bindings, inputs, strict=True):
            binding.images[...] = cupy.asarray(one)
        for _ in range(20):
            for binding in bindings:
                binding.enqueue(stream.ptr)
        stream.synchronize()
    for binding, right in zip(bindings, wanted, strict=True):
        np.testing.assert_allclose(binding.outputs[0].get(), right, atol=1e-2)
    if not engine.api.is_rtx:
        rows = [row for row in engine.memory() if row["thread"] == threading.current_thread().name]
        assert sum(row["context"] > 0 for row in rows) < len(rows)


def test_threads_do_not_disturb_each_other(pair: Any) -> None:
    engine, _ = pair
    images = [noise(n, engine.spec) for n in (1, 2, 4)]
    wanted = [engine.run(one)[0] for one in images]
    wrong = []

    def work(one: np.ndarray, right: np.ndarray) -> None:
        wrong.extend(1 for _ in range(50) if not np.allclose(engine.run(one)[0], right, atol=1e-2))

    threads = [
        threading.Thread(target=work, args=both) for both in zip(images, wanted, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_memory_does_not_grow(pair: Any) -> None:
    import cupy

    engine, _ = pair
    images = noise(4, engine.spec)
    engine.run(images)
    before = cupy.cuda.runtime.memGetInfo()[0]
    for _ in range(3000):
        engine.run(images)
    assert before - cupy.cuda.runtime.memGetInfo()[0] < 1 << 20


def test_graph_repeats_the_first_run(pair: Any) -> None:
    import cupy

    engine, _ = pair
    binding = engine.bind(2)
    if not binding.capturable:
        pytest.skip("this engine makes graphs itself")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        binding.images[...] = cupy.asarray(noise(2, engine.spec))
        binding.enqueue(stream.ptr)
        stream.synchronize()
        wanted = binding.outputs[0].get()
        binding.outputs[0][...] = 0
        stream.synchronize()
        stream.begin_capture()
        binding.enqueue(stream.ptr)
        graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
    np.testing.assert_allclose(binding.outputs[0].get(), wanted, atol=1e-3)
