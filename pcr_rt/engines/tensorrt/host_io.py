"""Copies between page-locked host memory and the device, through CuPy or through PyCUDA."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pcr_rt.engines.gpu import cupy, on
from pcr_rt.errors import MissingDependencyError

__all__ = ["HostIO", "HostIOName", "home_of", "make_host_io"]

HostIOName = Literal["cupy", "pycuda"]


class HostIO(Protocol):
    """A stream, page-locked arrays, and copies on that stream; for one thread.

    Everything is called with the engine's home current (see `home_of`). ``stream`` is the handle
    that other libraries take.
    """

    stream: int

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Make a page-locked array, which copies need not stage."""

    def upload(self, host: NDArray[Any], address: int) -> None:
        """Start a copy of a page-locked array to the device."""

    def download(self, address: int, host: NDArray[Any]) -> None:
        """Start a copy from the device to a page-locked array."""

    def wait(self) -> None:
        """Wait for everything that the stream was given."""


def make_host_io(name: HostIOName) -> HostIO:
    """Make the I/O of one thread on the current device."""
    return PyCudaIO() if name == "pycuda" else CupyIO()


def home_of(name: HostIOName, device: int) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes an engine's CUDA context current: from loading it to copies and runs.

    CuPy: the context that is current on the device already, whoever made it. PyCUDA: the device's
    primary context, pushed on PyCUDA's stack and popped again, so that the one below stays what
    it was. Raises MissingDependencyError if PyCUDA is asked for and missing.
    """
    if name == "cupy":
        return lambda: on(device)
    driver = _pycuda()
    driver.init()
    context = driver.Device(device).retain_primary_context()
    return lambda: _pushed(context)


@contextmanager
def _pushed(context: Any) -> Iterator[None]:
    context.push()
    try:
        yield
    finally:
        context.pop()


def _pycuda() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except ImportError as error:  # also if libcuda is missing
        raise MissingDependencyError(
            f'PyCUDA cannot be used ({error}): pip install ".[pycuda]".'
        ) from None


class CupyIO:
    """Through CuPy, on the current device."""

    def __init__(self) -> None:
        self._cuda = cupy().cuda
        self._stream = self._cuda.Stream(non_blocking=True)
        self.stream = int(self._stream.ptr)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """See `HostIO`."""
        count = int(np.prod(shape))
        memory = self._cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def upload(self, host: NDArray[Any], address: int) -> None:
        """See `HostIO`."""
        self._copy(address, host.ctypes.data, host.nbytes, "memcpyHostToDevice")

    def download(self, address: int, host: NDArray[Any]) -> None:
        """See `HostIO`."""
        self._copy(host.ctypes.data, address, host.nbytes, "memcpyDeviceToHost")

    def wait(self) -> None:
        """See `HostIO`."""
        self._stream.synchronize()

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        runtime = self._cuda.runtime
        with self._stream:
            runtime.memcpyAsync(target, source, size, getattr(runtime, kind), self.stream)


class PyCudaIO:
    """Through PyCUDA, in the context on top of its stack."""

    def __init__(self) -> None:
        self._driver = _pycuda()
        self._stream = self._driver.Stream()
        self.stream = int(self._stream.handle)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """See `HostIO`."""
        array: NDArray[Any] = self._driver.pagelocked_empty(shape, dtype)
        return array

    def upload(self, host: NDArray[Any], address: int) -> None:
        """See `HostIO`."""
        self._driver.memcpy_htod_async(address, host, self._stream)

    def download(self, address: int, host: NDArray[Any]) -> None:
        """See `HostIO`."""
        self._driver.memcpy_dtoh_async(host, address, self._stream)

    def wait(self) -> None:
        """See `HostIO`."""
        self._stream.synchronize()
