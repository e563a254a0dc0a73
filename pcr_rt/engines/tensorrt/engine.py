"""Runs engines of TensorRT 8.6 to 11 and TensorRT-RTX through one path, on device memory."""

from __future__ import annotations

import logging
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.engines.gpu import cupy, wait_for_device
from pcr_rt.engines.tensorrt.api import load, logger
from pcr_rt.engines.tensorrt.cache import deserialize, machine_key
from pcr_rt.engines.tensorrt.context import give_memory, make_context, memory_size, shape_context
from pcr_rt.engines.tensorrt.host_io import HostIOName, home_of, make_host_io
from pcr_rt.engines.tensorrt.runtime_cache import RuntimeCache
from pcr_rt.engines.tensorrt.sidecar import Sidecar, vouch
from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import ModelSpec

__all__ = ["TensorRTBinding", "TensorRTEngine"]

log = logging.getLogger(__name__)

DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}
"""NumPy's types by the names of TensorRT's."""


class TensorRTEngine:
    """An engine file on a CUDA device.

    plan: the file, which ``pcr-rt build`` wrote with its sidecar. spec: overrides the sidecar's.
    device: the GPU's number. host_io: which library copies host arrays for `run`.
    memory_limit_mb: most device memory for buffers and contexts together, None: no limit.

    Raises ModelError if the file cannot be vouched for or loaded, MissingDependencyError if
    TensorRT or CuPy is missing. Threads may share it: each has its own contexts and buffers.
    """

    def __init__(
        self,
        plan: str | Path,
        *,
        spec: ModelSpec | None = None,
        device: int = 0,
        host_io: HostIOName = "cupy",
        memory_limit_mb: int | None = None,
    ) -> None:
        self.plan, self.device = Path(plan), device
        self.api = load(Sidecar.read(self.plan).key.get("product"))
        # RTX engines fit every GPU of their targets; TensorRT's fit the one they were built on.
        machine = machine_key(self.api, None if self.api.is_rtx else device)
        self.sidecar, content = vouch(self.plan, machine)
        self.spec = spec or self.sidecar.spec
        self.host_io: HostIOName = host_io
        self._home = home_of(host_io, device)
        self._limit = None if memory_limit_mb is None else memory_limit_mb << 20
        self._lock, self._closed = threading.RLock(), False
        self._local = threading.local()
        self._workers: weakref.WeakSet[_Worker] = weakref.WeakSet()
        self._bindings: weakref.WeakSet[TensorRTBinding] = weakref.WeakSet()
        with self._home():
            self._runtime, self.engine = deserialize(self.api, content, self.plan)
            self._kernels: RuntimeCache | None = None
            if self.api.is_rtx:
                self._kernels = RuntimeCache(self.api, self.engine, self.plan, self.sidecar)
        self._read_tensors()
        log.info("%s runs on %s %s", self.spec.name, self.api.product, self.api.version)

    def _read_tensors(self) -> None:
        engine, trt = self.engine, self.api.module
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        if len(inputs) != 1:
            raise ModelError(f"{self.plan} has {len(inputs)} inputs; engines take images only.")
        self.input: str = inputs[0]
        self.outputs: list[str] = [n for n in names if n != self.input]
        self.dtypes = {n: np.dtype(DTYPES[engine.get_tensor_dtype(n).name]) for n in names}
        shape = tuple(engine.get_tensor_shape(self.input))
        self.fixed_batch: int | None = None if shape[0] == -1 else shape[0]
        ranges = [
            [tuple(s) for s in engine.get_tensor_profile_shape(self.input, i)]
            for i in range(engine.num_optimization_profiles)
        ]
        self.profiles: list[tuple[int, int, int]] = [(a[0], b[0], c[0]) for a, b, c in ranges]
        width, height = self.spec.input_size
        self.image_shape = (3, height, width)
        largest = ranges[0][2] if ranges else shape
        if tuple(largest[1:]) != self.image_shape:
            raise ModelError(
                f"{self.plan} takes images of {tuple(largest[1:])}, not {self.image_shape} as its"
                " spec says."
            )
        self.max_batch: int = self.fixed_batch or max(high for _, _, high in self.profiles)

    def profile_of(self, batch: int) -> int:
        """Return the profile that takes a batch, the one tuned for the size nearest to it.

        Raises InputError if there is none.
        """
        if self.fixed_batch is not None:
            return 0
        able = [i for i, (low, _, high) in enumerate(self.profiles) if low <= batch <= high]
        if not able:
            ranges = ", ".join(f"{low} to {high}" for low, _, high in self.profiles)
            raise InputError(
                f"A batch of {batch} fits no profile of {self.plan.name} ({ranges}): build it with"
                " another --profile."
            )
        return min(able, key=lambda i: abs(self.profiles[i][1] - batch))

    def bucket(self, count: int) -> int:
        """Return the batch that takes ``count`` images: a power of two, if a profile takes it."""
        if self.fixed_batch is not None:
            return self.fixed_batch
        size = min(1 << (count - 1).bit_length(), self.max_batch)
        return min(max(size, low) for low, _, high in self.profiles if high >= size)

    def bind(self, batch: int) -> TensorRTBinding:
        """Make buffers for ``batch`` images, 1 to ``max_batch``, with a context of their own.

        The bindings of one thread share the memory that networks work in, so they have to run one
        after the other, on one stream.
        """
        if not 1 <= batch <= self.max_batch:
            raise InputError(
                f"A batch of {batch} is beyond the engine's largest, {self.max_batch}: build it"
                " with another --profile."
            )
        with self._lock, self._home():
            self._check_open()
            binding = TensorRTBinding(self, batch)
            self._bindings.add(binding)
            return binding

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute all outputs for host images (N, 3, H, W), at most ``max_batch`` at a time."""
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.image_shape or not len(images):
            raise InputError(
                f"Images have shape {images.shape}; {self.spec.name!r} takes"
                f" {('N', *self.image_shape)}."
            )
        if images.dtype.kind not in "fiu":
            raise InputError(f"Images are {images.dtype}; give numbers such as float32.")
        with self._home():
            worker = self._worker()
            with worker.lock:
                self._check_open()
                starts = range(0, len(images), self.max_batch)
                parts = [worker.run(images[start : start + self.max_batch]) for start in starts]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def memory(self) -> list[dict[str, Any]]:
        """Return the device memory in bytes of each thread and batch size.

        Keys: thread, batch, buffers, context. Memory that several contexts of a thread share is
        counted once. The engine's weights come on top.
        """
        rows, seen = [], set()
        bindings = list(self._bindings)
        for binding in sorted(bindings, key=lambda b: (b.thread, b.batch)):
            activations = binding.activations
            row = {"thread": binding.thread, "batch": binding.batch}
            row |= {"buffers": binding.buffer_bytes, "context": activations.size}
            if id(activations) in seen:
                row["context"] = 0
            seen.add(id(activations))
            rows.append(row)
        return rows

    def claim(self, size: int) -> None:
        """Raise InputError if ``size`` more bytes exceed the limit."""
        used = sum(row["buffers"] + row["context"] for row in self.memory())
        if self._limit is not None and used + size > self._limit:
            raise InputError(
                f"{self.spec.name!r} would use {(used + size) >> 20} MB of device memory, more than"
                f" its limit of {self._limit >> 20} MB: use fewer threads or a smaller batch."
            )

    def make_context(self, size: int) -> Any:
        """Make a context for ``size`` images; RTX's shares the runtime cache and makes graphs."""
        config = None if self._kernels is None else self._kernels.config
        context = make_context(self.api, self.engine, config)
        shape = (size, *self.image_shape)
        shape_context(self.api, context, self.profile_of(size), self.input, shape)
        return context

    def activations(self, context: Any, buffers: int) -> _Activations:
        """Give a shaped context memory: this thread's, if that is large enough, or a new block.

        buffers: bytes of the buffers that come on top, which count towards the limit.
        """
        needed = memory_size(self.engine, None if self.api.is_rtx else context)
        if self.api.is_rtx:
            self.claim(needed + buffers)
            return _Activations(needed, None)
        kept: _Activations | None = getattr(self._local, "activations", lambda: None)()
        if kept is None or kept.size < needed:
            self.claim(needed + buffers)
            # The smaller block stays as long as its bindings, whose graphs may hold its address.
            kept = _Activations(needed, cupy().empty(max(needed, 1), np.uint8))
            self._local.activations = weakref.ref(kept)
        else:
            self.claim(buffers)
        give_memory(context, int(kept.array.data.ptr), kept.size)
        return kept

    def last_error(self) -> str:
        """Return what TensorRT said last."""
        error: str = logger(self.api).journal.last_error()
        return error

    def trim(self) -> None:
        """Give back what `run` keeps for each batch size; the next run makes it anew."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            with worker.lock, self._home():
                worker.slots.clear()

    def close(self) -> None:
        """Wait for runs in other threads and for the device, then give back everything."""
        with self._lock:  # from here on nobody begins a run
            if self._closed:
                return
            self._closed = True
        self.trim()
        with self._lock, self._home():
            if self._kernels is not None:
                self._kernels.keep()
            # What bindings and graphs with them have queued still reads contexts and weights.
            try:
                wait_for_device()
            except RuntimeError as error:
                log.warning("The device failed before %s was closed: %s", self.spec.name, error)
            for binding in list(self._bindings):
                binding.release()
            self._kernels = self.engine = self._runtime = None

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(f"The engine of {self.spec.name!r} is closed.")

    def _worker(self) -> _Worker:
        worker: _Worker | None = getattr(self._local, "worker", None)
        if worker is None:
            self._check_open()
            worker = self._local.worker = _Worker(self)
            with self._lock:
                self._check_open()
                self._workers.add(worker)
        return worker


class TensorRTBinding:
    """A context with the buffers of one batch size, which stay where they are; for one thread.

    images (N, 3, H, W) and outputs (N, ...) are CuPy arrays. An engine of a fixed batch gets
    buffers of that size, of which these are the first N.
    """

    def __init__(self, owner: TensorRTEngine, batch: int) -> None:
        cp = cupy()
        self.batch, self.owner = batch, owner
        # RTX captures its own graphs and does not take part in those of others.
        self.capturable = not owner.api.is_rtx
        self.thread = threading.current_thread().name
        size = owner.fixed_batch or batch
        context = owner.make_context(size)
        shapes = {owner.input: (size, *owner.image_shape)}
        for name in owner.outputs:
            shapes[name] = tuple(context.get_tensor_shape(name))
            if -1 in shapes[name]:
                raise ModelError(
                    f"The output {name!r} of {owner.spec.name!r} has no fixed size: run the model"
                    " on ONNX Runtime."
                )
        self.buffer_bytes = sum(
            int(np.prod(shape)) * owner.dtypes[name].itemsize for name, shape in shapes.items()
        )
        self.activations = owner.activations(context, self.buffer_bytes)
        # Zeros, for a fixed batch reads all of its images.
        buffers = {name: cp.zeros(shape, owner.dtypes[name]) for name, shape in shapes.items()}
        for name, buffer in buffers.items():
            if not context.set_tensor_address(name, buffer.data.ptr):
                raise ModelError(f"{owner.plan.name}: {owner.last_error()}")
        # The zeros were queued on another stream than the one that will run.
        cp.cuda.get_current_stream().synchronize()
        self._context: Any = context
        self.images: Any = buffers[owner.input][:batch]
        self.outputs: list[Any] = [buffers[name][:batch] for name in owner.outputs]

    def enqueue(self, stream: int) -> None:
        """Start the network on the handle of a stream; nothing waits for the device."""
        context = self._context  # so that a close in another thread does not take it away
        if context is None:
            raise InputError(f"The engine of {self.owner.spec.name!r} is closed.")
        if not context.execute_async_v3(stream):
            raise RuntimeError(f"{self.owner.plan.name} failed: {self.owner.last_error()}")

    def release(self) -> None:
        """Give back the context; buffers live as long as somebody has them."""
        self._context = None


class _Activations:
    """Device memory that contexts of one thread work in; array: None if it is the context's own."""

    def __init__(self, size: int, array: Any) -> None:
        self.size, self.array = size, array


class _Worker:
    """One thread's stream, with a context and page-locked arrays for each batch size."""

    def __init__(self, owner: TensorRTEngine) -> None:
        self._owner = owner
        self.lock = threading.Lock()
        self._io = make_host_io(owner.host_io)
        self.slots: dict[int, tuple[TensorRTBinding, NDArray[Any], list[NDArray[Any]]]] = {}

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute the outputs for at most ``max_batch`` images, which run in their bucket."""
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
