"""Execution contexts, which every version makes, shapes and gives memory in its own way."""

from __future__ import annotations

from typing import Any

from pcr_rt.engines.gpu import cupy
from pcr_rt.engines.tensorrt.api import Api, logger
from pcr_rt.errors import ModelError

__all__ = ["give_memory", "make_context", "memory_size", "shape_context"]


def make_context(api: Api, engine: Any, runtime_config: Any = None) -> Any:
    """Make a context without memory for activations, which `give_memory` gives it.

    RTX's, made with ``runtime_config``, has memory of its own: the kernels that it makes while it
    runs may need another size. Raises ModelError if TensorRT refuses.
    """
    if runtime_config is not None:
        context = engine.create_execution_context(runtime_config)
    elif hasattr(api.module, "ExecutionContextAllocationStrategy"):
        strategies = api.module.ExecutionContextAllocationStrategy
        context = engine.create_execution_context(strategies.USER_MANAGED)
    else:
        context = engine.create_execution_context_without_device_memory()
    if context is None:
        raise ModelError(f"{api.product} makes no context: {_last_error(api)}")
    return context


def shape_context(api: Api, context: Any, profile: int, name: str, shape: tuple[int, ...]) -> None:
    """Choose the profile and the shape of the input ``name``; ModelError if they are refused.

    The profile is always chosen: TensorRT 8.6 gives profile 0 only to the first context of an
    engine, and none (-1) to the others.
    """
    stream = cupy().cuda.Stream(non_blocking=True)
    if not context.set_optimization_profile_async(profile, stream.ptr):
        raise ModelError(f"{api.product} refuses profile {profile}: {_last_error(api)}")
    stream.synchronize()
    if not context.set_input_shape(name, shape):
        raise ModelError(f"{api.product} refuses the shape {shape}: {_last_error(api)}")


def memory_size(engine: Any, context: Any) -> int:
    """Return the bytes of device memory that a shaped context needs for activations.

    None as context, and every one of 8.6: those for the largest shape of all profiles.
    """
    if hasattr(context, "update_device_memory_size_for_shapes"):
        size = int(context.update_device_memory_size_for_shapes())
        if size:  # 0 is also the answer if that size cannot be told
            return size
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def give_memory(context: Any, address: int, size: int) -> None:
    """Let a context from `make_context` use device memory, which has to stay as long as it runs."""
    if hasattr(context, "set_device_memory"):
        context.set_device_memory(address, size)
    else:
        context.device_memory = address


def _last_error(api: Api) -> str:
    error: str = logger(api).journal.last_error()
    return error
