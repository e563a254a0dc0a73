"""The part of CuPy that the kernels' wrappers use, on NumPy and the emulator.

Stricter than CuPy: arguments of a launch have to fit the kernel's parameters one by one, and new
arrays are full of 255 bytes (NaN, -1), so that what a kernel leaves out shows.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np

library: ctypes.CDLL
reversed_order = False
launches: list[str] = []
"""Names of the kernels launched."""

MOST_THREADS = 1024
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
"""What CUDA's driver takes in a launch."""

LETTERS = {"i": np.int32, "f": np.float32, "d": np.float64}


class ndarray(np.ndarray):
    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> Any:
        return SimpleNamespace(id=getattr(self, "device_id", 0))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.__array_interface__, "version": 3, "stream": 1}

    def get(self) -> np.ndarray:
        synchronisations.append("get")
        return np.array(self)

    def __array_finalize__(self, parent: Any) -> None:
        self.device_id = getattr(parent, "device_id", 0)


def asarray(array: Any, dtype: Any = None) -> ndarray:
    if isinstance(array, ndarray) and array.device.id != cuda.Device().id:
        array = np.array(array)  # CuPy copies it here
    if isinstance(array, ndarray) and dtype in (None, array.dtype):
        return array
    if hasattr(array, "__cuda_array_interface__"):
        interface = array.__cuda_array_interface__
        if interface.get("stream") is not None:
            synchronisations.append("array interface")
        memory = np.asarray(SimpleNamespace(__array_interface__={**interface, "version": 3}))
        if pointer_attributes(memory.ctypes.data).device == cuda.Device().id:
            return seen(memory, cuda.Device().id)
        array = memory
    host = np.array(array, dtype=dtype)
    device = np.empty(host.shape, host.dtype).view(ndarray)
    device[...] = host
    return seen(device, cuda.Device().id)


def ascontiguousarray(array: Any, dtype: Any = None) -> ndarray:
    assert isinstance(array, ndarray)
    if array.flags.c_contiguous and dtype in (None, array.dtype):
        return array
    return np.ascontiguousarray(array, dtype=dtype).view(ndarray)


def empty(shape: Any, dtype: Any = np.float32) -> ndarray:
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = 255
    return seen(array, cuda.Device().id)


def zeros(shape: Any, dtype: Any = np.float32) -> ndarray:
    array = empty(shape, dtype)

    def clear() -> None:
        array[...] = 0

    submit(clear)
    return array


def asnumpy(array: ndarray) -> np.ndarray:
    return array.get()


def from_dlpack(array: Any) -> ndarray:
    state.context = "primary"  # CuPy calls setDevice before and after
    array.__dlpack__(stream=cuda.get_current_stream().ptr)
    return seen(array.memory)


def seen(memory: np.ndarray, device: int = 0) -> ndarray:
    """Show memory as an array on the device, in place."""
    array = memory.view(ndarray)
    array.device_id = device
    return array


homes: dict[int, int] = {}
"""The devices of memory by its address, unless it is device 0."""


def pointer_attributes(address: int) -> Any:
    return SimpleNamespace(device=homes.get(address, 0))


state = threading.local()
gpu = ThreadPoolExecutor(1)
"""Runs the kernels: the emulator's fibers belong to one thread."""
synchronisations: list[str] = []
"""One entry for each time that the host waited for the device."""
waits: list[tuple[int, int]] = []
"""(stream, stream that it waits for)."""


def submit(work: Any) -> None:
    """Do something on the device, or record it if the current stream is captured."""
    recorded = cuda.get_current_stream().recorded
    if recorded is None:
        work()
    else:
        recorded.append(work)


class Stream:
    count = itertools.count(1000)
    null: Stream

    def __init__(self, *, ptr: int | None = None, non_blocking: bool = False) -> None:
        self.ptr = next(self.count) if ptr is None else ptr
        self.recorded: list[Any] | None = None

    def __enter__(self) -> Stream:
        state.streams = [*getattr(state, "streams", []), self]
        return self

    def __exit__(self, *_: object) -> None:
        state.streams = state.streams[:-1]

    def synchronize(self) -> None:
        assert self.recorded is None, "a stream that records cannot be waited for"
        synchronisations.append("stream")

    def wait_event(self, event: Event) -> None:
        waits.append((self.ptr, event.stream.ptr))

    @classmethod
    def from_external(cls, owner: Any) -> Stream:
        """CuPy 14 has it, and CuPy 13 has not."""
        version, handle = owner.__cuda_stream__()
        assert version == 0
        return cls(ptr=handle)

    def is_capturing(self) -> bool:
        return self.recorded is not None

    def begin_capture(self) -> None:
        self.recorded = []

    def end_capture(self) -> Graph:
        graph, self.recorded = Graph(self.recorded), None
        return graph


DEFAULT_STREAM = Stream.null = Stream(ptr=0)


class Graph:
    launched = 0

    def __init__(self, recorded: list[Any]) -> None:
        self.recorded = recorded

    def launch(self, stream: Stream | None = None) -> None:
        Graph.launched += 1
        for work in self.recorded:
            work()


class Event:
    def __init__(self, *, disable_timing: bool = False) -> None:
        self.stream = DEFAULT_STREAM

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or cuda.get_current_stream()

    def synchronize(self) -> None:
        synchronisations.append("event")


class Device:
    """Any number; leaving it calls setDevice, which makes the primary context current."""

    def __init__(self, number: int | None = None) -> None:
        self.id = getattr(state, "device", 0) if number is None else number

    def __enter__(self) -> Device:
        self.before, state.device = getattr(state, "device", 0), self.id
        if self.before != self.id:
            state.context = "primary"
        return self

    def __exit__(self, *_: object) -> None:
        state.device, state.context = self.before, "primary"


def external_stream(handle: int) -> Stream:
    if hasattr(Stream, "from_external"):
        warnings.warn("ExternalStream is deprecated.", DeprecationWarning, stacklevel=2)
    return Stream(ptr=handle)


def set_device(number: int) -> None:
    state.device, state.context = number, "primary"


def get_context() -> Any:
    """A context is a name and a device here; 0 if there is none yet."""
    return (state.context, cuda.Device().id) if hasattr(state, "context") else 0


def set_context(context: Any) -> None:
    state.context, state.device = context


freed: list[MemoryPool] = []
"""Pools whose free blocks went back to the device."""


class MemoryPool:
    def free_all_blocks(self) -> None:
        freed.append(self)

    def malloc(self, size: int) -> None:
        raise NotImplementedError


def get_default_memory_pool() -> MemoryPool:
    return MemoryPool()


def memcpy_async(target: int, source: int, size: int, kind: int, stream: int) -> None:
    assert stream == cuda.get_current_stream().ptr
    submit(lambda: ctypes.memmove(target, source, size))


cuda = SimpleNamespace(
    driver=SimpleNamespace(ctxGetCurrent=get_context, ctxSetCurrent=set_context),
    Device=Device,
    Event=Event,
    ExternalStream=external_stream,
    MemoryPool=MemoryPool,
    Stream=Stream,
    alloc_pinned_memory=bytearray,
    get_current_stream=lambda: (getattr(state, "streams", None) or [DEFAULT_STREAM])[-1],
    get_elapsed_time=lambda before, after: 1.0,
    using_allocator=lambda allocator: nullcontext(),
    runtime=SimpleNamespace(
        getDevice=lambda: getattr(state, "device", 0),
        setDevice=set_device,
        getDeviceCount=lambda: 0,  # runs kernels, is no GPU: "auto" shall not look for TensorRT
        memcpyAsync=memcpy_async,
        pointerGetAttributes=pointer_attributes,
        deviceSynchronize=lambda: synchronisations.append("device"),
        memcpyHostToDevice=1,
        memcpyDeviceToHost=2,
    ),
)


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        self.code = code
        assert options == ("--std=c++17",)

    def compile(self, log_stream: Any = None) -> None:
        pass

    def get_function(self, name: str) -> RawKernel:
        assert name in self.code or name.rpartition("_")[0] in self.code
        return RawKernel(name)


class RawKernel:
    def __init__(self, name: str) -> None:
        self.name = name
        self.signature = library.kernel_signature(name.encode()).decode()

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]
    ) -> None:
        assert len(args) == len(self.signature), (self.name, len(args), self.signature)
        fits = all(0 < n <= most for n, most in zip(grid, MOST_BLOCKS, strict=False))
        if not fits or not 0 < math.prod(block) <= MOST_THREADS:
            raise RuntimeError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        values = [
            self._value(i, letter, argument)
            for i, (letter, argument) in enumerate(zip(self.signature, args, strict=True))
        ]
        # A graph's memory pool keeps what its launches use; so does holding `args` here.
        submit(lambda args=args: self._run(grid, block, values))

    def _run(self, grid: tuple[int, ...], block: tuple[int, ...], values: list[np.ndarray]) -> None:
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        message = ctypes.create_string_buffer(2000)
        launches.append(self.name)
        failed = gpu.submit(
            library.launch_kernel,
            self.name.encode(),
            (ctypes.c_uint * 3)(*(*grid, 1, 1)[:3]),
            (ctypes.c_uint * 3)(*(*block, 1, 1)[:3]),
            pointers,
            int(reversed_order),
            message,
            len(message),
        ).result()
        if failed:
            raise RuntimeError(message.value.decode())

    def _value(self, i: int, letter: str, argument: Any) -> np.ndarray:
        """Give the bytes of one argument, which has to be of the parameter's very type."""
        where = f"argument {i} of {self.name}"
        if letter != "p":
            assert type(argument) is LETTERS[letter], f"{where} is {type(argument)}, not {letter}"
            return np.array(argument)
        if type(argument) is np.uint64:
            assert argument == 0, where
            return np.array(argument)
        assert isinstance(argument, ndarray), f"{where} is {type(argument)}"
        assert argument.flags.c_contiguous, f"{where} is not contiguous"
        return np.array(argument.ctypes.data, np.uint64)


def load(path: str) -> None:
    """Take the kernels of a compiled library."""
    global library
    library = ctypes.CDLL(path)
    library.kernel_signature.restype = ctypes.c_char_p
