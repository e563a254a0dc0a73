"""Contexts of the stand-ins, which refuse what the real ones refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.builder import BuildOptions
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.context import give_memory, make_context, memory_size, shape_context
from pcr_rt.engines.tensorrt.engine import TensorRTEngine
from pcr_rt.errors import ModelError
from pcr_rt.models import ModelSpec
from toys import PLAIN, brightness_model

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
SHAPE = (2, 3, 64, 48)


@pytest.fixture
def engine(tensorrt: Any, tmp_path: Path) -> TensorRTEngine:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    plan, _ = cached_engine(load(), model, SPEC, BuildOptions(((1, 4, 16),)))
    return TensorRTEngine(plan)


@pytest.mark.parametrize("tensorrt", ["8.6.1"], indirect=True)
def test_8_6_gives_a_second_context_no_profile(engine: TensorRTEngine) -> None:
    """The stand-in's contract: without a profile of its own it refuses every shape."""
    first, second = (
        engine.engine.create_execution_context_without_device_memory() for _ in range(2)
    )
    assert first.set_input_shape("images", SHAPE)
    assert not second.set_input_shape("images", SHAPE)
    assert second.set_optimization_profile_async(0, 0)
    assert second.set_input_shape("images", SHAPE)
    assert engine.bind(2).images.shape[0] == engine.bind(2).images.shape[0] == 2


@pytest.mark.parametrize(
    ("tensorrt", "images"),
    [("8.6.1", 16), ("10.0.1", 2), ("10.3.0", 2), ("11.4.0.106", 2)],
    indirect=["tensorrt"],
)
def test_a_context_runs_once_it_has_memory(engine: TensorRTEngine, images: int) -> None:
    """The stand-in needs 64 KiB for each image: of the largest batch in 8.6, else of this one."""
    context = make_context(engine.api, engine.engine)
    shape_context(engine.api, context, 0, "images", SHAPE)
    assert memory_size(engine.engine, context) == images << 16
    assert memory_size(engine.engine, None) == 16 << 16
    binding = engine.bind(2)
    for name, array in (("images", binding.images), ("heatmaps", binding.outputs[0])):
        assert context.set_tensor_address(name, array.data.ptr)
    assert not context.execute_async_v3(0)
    give_memory(context, 4096, images << 16)
    assert context.execute_async_v3(0)


def test_what_tensorrt_refuses_is_one_sentence(engine: TensorRTEngine) -> None:
    context = make_context(engine.api, engine.engine)
    with pytest.raises(ModelError, match="refuses profile 1"):
        shape_context(engine.api, context, 1, "images", SHAPE)
    context = make_context(engine.api, engine.engine)
    with pytest.raises(ModelError, match=r"refuses the shape .*Static dimension mismatch"):
        shape_context(engine.api, context, 0, "images", (17, 3, 64, 48))
