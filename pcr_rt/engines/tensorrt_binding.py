"""Contexts and buffers of an engine: for the device path, and for host arrays by thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.engines.gpu import cupy
from pcr_rt.engines.tensorrt_host_io import make_host_io
from pcr_rt.errors import InputError, ModelError

if TYPE_CHECKING:
    from pcr_rt.engines.tensorrt import TensorRTEngine

__all__ = ["TensorRTBinding", "Worker"]


class TensorRTBinding:
    """A context with the buffers of one batch size, which stay where they are; for one thread.

    images (N, 3, H, W) and outputs (N, ...) are CuPy arrays. An engine of a fixed batch gets
    buffers of that size, of which these are the first N.
    """

    def __init__(self, owner: TensorRTEngine, batch: int) -> None:
        cp, engine = cupy(), owner.engine
        self.batch, self.owner = batch, owner
        # RTX captures its own graphs and does not take part in those of others.
        self.capturable = not owner.api.is_rtx
        self._thread = threading.current_thread().name
        size = owner.fixed_batch or batch
        shape = (size, *owner.image_shape)
        self._context_bytes = _context_memory(engine)
        owner.claim(self._context_bytes + int(np.prod(shape)) * owner.dtypes[owner.input].itemsize)
        context = owner.create_context()
        if len(owner.profiles) > 1:
            stream = cp.cuda.Stream(non_blocking=True)
            if not context.set_optimization_profile_async(owner.profile_of(size), stream.ptr):
                raise ModelError(f"{owner.plan.name}: {owner.last_error()}")
            stream.synchronize()
        elif owner.fixed_batch is None:
            owner.profile_of(size)
        if not context.set_input_shape(owner.input, shape):
            raise ModelError(f"{owner.plan.name} refuses the shape {shape}: {owner.last_error()}")
        buffers = {owner.input: cp.zeros(shape, owner.dtypes[owner.input])}
        for name in owner.outputs:
            output_shape = tuple(context.get_tensor_shape(name))
            if -1 in output_shape:
                raise ModelError(
                    f"The output {name!r} of {owner.spec.name!r} has no fixed size: run the model"
                    " on ONNX Runtime."
                )
            buffers[name] = cp.empty(output_shape, owner.dtypes[name])
        for name, buffer in buffers.items():
            if not context.set_tensor_address(name, buffer.data.ptr):
                raise ModelError(f"{owner.plan.name}: {owner.last_error()}")
        # The zeros above were queued on another stream than the one that will run.
        cp.cuda.get_current_stream().synchronize()
        self.buffer_bytes = sum(int(buffer.nbytes) for buffer in buffers.values())
        self._context: Any = context
        self._buffers: dict[str, Any] = buffers
        self.images: Any = buffers[owner.input][:batch]
        self.outputs: list[Any] = [buffers[name][:batch] for name in owner.outputs]

    def enqueue(self, stream: int) -> None:
        """Start the network on the handle of a stream; nothing waits for the device."""
        if self._context is None:
            raise InputError(f"The engine of {self.owner.spec.name!r} is closed.")
        if not self._context.execute_async_v3(stream):
            raise RuntimeError(f"{self.owner.plan.name} failed: {self.owner.last_error()}")

    def memory(self) -> dict[str, Any]:
        """Bytes of device memory, and whose they are."""
        return {
            "thread": self._thread,
            "batch": self.batch,
            "buffers": self.buffer_bytes,
            "context": self._context_bytes,
        }

    def release(self) -> None:
        """Give back the context; buffers live as long as somebody has them."""
        self._context = None


class Worker:
    """One thread's stream, with a context and page-locked arrays for each batch size."""

    def __init__(self, owner: TensorRTEngine) -> None:
        self._owner = owner
        self.lock = threading.Lock()
        self._io = make_host_io(owner.host_io, owner.device)
        self.slots: dict[int, tuple[TensorRTBinding, NDArray[Any], list[NDArray[Any]]]] = {}

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Outputs for at most ``max_batch`` images, which run in their bucket."""
        count = len(images)
        size = self._owner.bucket(count)
        if size not in self.slots:
            binding = self._owner.bind(size)
            arrays = [self._io.array(a.shape, a.dtype) for a in (binding.images, *binding.outputs)]
            arrays[0][...] = 0
            self.slots[size] = binding, arrays[0], arrays[1:]
        binding, entry, exits = self.slots[size]
        entry[:count] = images
        self._io.upload(entry, binding.images.data.ptr)
        binding.enqueue(self._io.stream)
        for output, host in zip(binding.outputs, exits, strict=True):
            self._io.download(output.data.ptr, host)
        self._io.wait()
        return [host[:count].copy() for host in exits]


def _context_memory(engine: Any) -> int:
    """Bytes of device memory that a context takes for activations."""
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)
