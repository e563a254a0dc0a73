"""What a thread that runs whole pipelines on the device needs: memory, streams, graphs."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pcr_rt.cuda_kernels.kernels.launch import DeviceArray, check_home, constants_kept, cupy
from pcr_rt.frames import ArrayInterface

__all__ = ["Graph", "Packed", "Staging", "memory_of", "on", "pool_of", "stream_of", "taken"]

ALIGNMENT = 256
"""Bytes; what CUDA's own allocations have."""

Layout = Mapping[str, tuple[tuple[int, ...], DTypeLike]]
"""Name -> shape and dtype."""


def on(device: int) -> AbstractContextManager[Any]:
    """Make the device current, and at the end the context that was, whoever made it."""
    return _on(cupy(), device)


def _on(cp: Any, device: int) -> AbstractContextManager[Any]:
    return nullcontext() if cp.cuda.runtime.getDevice() == device else _elsewhere(cp, device)


@contextmanager
def _elsewhere(cp: Any, device: int) -> Iterator[None]:
    with _context_kept(cp):
        cp.cuda.runtime.setDevice(device)
        yield


@contextmanager
def _context_kept(cp: Any) -> Iterator[None]:
    """Make the context that is current so again at the end.

    CuPy goes back by setDevice, which makes the device's primary context current.
    """
    device, context = cp.cuda.runtime.getDevice(), cp.cuda.driver.ctxGetCurrent()
    try:
        yield
    finally:
        if context:
            cp.cuda.driver.ctxSetCurrent(context)
        else:  # CUDA has made none yet
            cp.cuda.runtime.setDevice(device)


class Packed:
    """Arrays that go to the device, or come from there, in one copy from page-locked memory.

    ``host`` and ``device`` hold them by name. Copies are queued on the current stream.
    """

    def __init__(self, layout: Layout) -> None:
        places, size = {}, 0
        for name, (shape, dtype) in layout.items():
            length = math.prod(shape) * np.dtype(dtype).itemsize
            places[name] = slice(size, size + length)
            size += -(-length // ALIGNMENT) * ALIGNMENT
        self._host = _page_locked(size)
        self._device = cupy().empty(size, np.uint8)
        self.host: dict[str, NDArray[Any]] = {}
        self.device: dict[str, DeviceArray] = {}
        for name, (shape, dtype) in layout.items():
            self.host[name] = self._host[places[name]].view(dtype).reshape(shape)
            self.device[name] = self._device[places[name]].view(dtype).reshape(shape)

    def upload(self) -> None:
        """Queue the copy from host to device."""
        _copy(self._device.data.ptr, self._host.ctypes.data, self._host.nbytes, to_device=True)

    def download(self) -> None:
        """Queue the copy from device to host; it is done once the stream has been waited for."""
        _copy(self._host.ctypes.data, self._device.data.ptr, self._host.nbytes, to_device=False)


class Staging:
    """Where a host array is copied to the device; grows to the largest that came."""

    def __init__(self) -> None:
        self._host: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._device: DeviceArray = None

    def upload(self, array: NDArray[np.uint8]) -> DeviceArray:
        """Queue the copy of ``array`` to the device and give it; valid until the next upload."""
        if array.nbytes > self._host.nbytes:
            self._host, self._device = (
                _page_locked(array.nbytes),
                cupy().empty(array.nbytes, np.uint8),
            )
        host = self._host[: array.nbytes]
        host.reshape(array.shape)[...] = array
        _copy(self._device.data.ptr, host.ctypes.data, array.nbytes, to_device=True)
        return self._device[: array.nbytes].reshape(array.shape)


class Graph:
    """Work on fixed buffers, recorded on the current stream, with all memory that it uses."""

    def __init__(self, work: Callable[[], None], pool: Any) -> None:
        stream = cupy().cuda.get_current_stream()
        with memory_of(pool), constants_kept() as constants:
            stream.begin_capture()
            try:
                work()
            finally:
                # Also after a failure, or the stream would go on recording.
                graph = stream.end_capture()
        self._graph, self._memory = graph, (pool, constants)

    def launch(self, stream: Any) -> None:
        """Queue it on a stream."""
        self._graph.launch(stream)


def pool_of(owner: object) -> Any:
    """Make a memory pool of the current device that returns its free memory when ``owner`` goes.

    CuPy from 14.1 on does not return that of a pool that is dropped.
    """
    cp = cupy()
    pool, device = cp.cuda.MemoryPool(), cp.cuda.Device().id

    def free() -> None:
        with _on(cp, device):
            pool.free_all_blocks()

    weakref.finalize(owner, free).atexit = False
    return pool


@contextmanager
def memory_of(pool: Any) -> Iterator[None]:
    """Take the memory of CuPy's arrays of this thread from ``pool``."""
    with cupy().cuda.using_allocator(pool.malloc):
        yield


def taken(array: Any, interface: ArrayInterface | None, stream: Any) -> DeviceArray:
    """Make a device array of any library CuPy's, in place; to be used on ``stream``.

    interface: the array's, None if there is but DLPack.

    The stream waits for what the array's owner has queued, the host does not. An owner that names
    no stream may have queued it on the legacy default stream, as PyCUDA does, for which a
    non-blocking stream does not wait by itself. Call it with the owner's stream current. Raises
    InputError for an array on another device.
    """
    cp = cupy()
    check_home(array, interface, "The frame")
    if isinstance(array, cp.ndarray):
        _wait(stream, cp.cuda.get_current_stream())
        return array
    if interface is None or ("stream" not in interface and hasattr(array, "__dlpack__")):
        # The exporter is told the stream and orders itself before it.
        with _context_kept(cp), stream:
            return cp.from_dlpack(array)
    owner = interface.get("stream")
    _wait(stream, cp.cuda.Stream.null if owner is None else stream_of(owner))
    return cp.asarray(_WithoutStream(array, interface))


def stream_of(handle: int) -> Any:
    """Make a stream of another library, given by its handle, CuPy's."""
    make = getattr(cupy().cuda.Stream, "from_external", None)
    # From CuPy 14 on ExternalStream is deprecated.
    return cupy().cuda.ExternalStream(handle) if make is None else make(_Handle(handle))


class _Handle:
    """A stream in the words of CUDA's stream protocol."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle  # the protocol's version comes first


class _WithoutStream:
    """An array that CuPy need not wait for on the host, which it would do for its stream."""

    def __init__(self, owner: Any, interface: ArrayInterface) -> None:
        self._owner = owner
        self.__cuda_array_interface__ = {**interface, "stream": None}


def _wait(stream: Any, other: Any) -> None:
    """Let the stream wait for what the other one has been given."""
    if stream.ptr != other.ptr:
        done = cupy().cuda.Event(disable_timing=True)
        done.record(other)
        stream.wait_event(done)


def _page_locked(size: int) -> NDArray[np.uint8]:
    memory = cupy().cuda.alloc_pinned_memory(max(size, 1))
    return np.frombuffer(memory, np.uint8, size)


def _copy(target: int, source: int, size: int, *, to_device: bool) -> None:
    runtime = cupy().cuda.runtime
    kind = runtime.memcpyHostToDevice if to_device else runtime.memcpyDeviceToHost
    runtime.memcpyAsync(target, source, size, kind, cupy().cuda.get_current_stream().ptr)
