"""Copies between page-locked host memory and the device, through CuPy or through PyCUDA."""

from __future__ import annotations

import importlib
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pcr_rt.engines.gpu import cupy
from pcr_rt.errors import MissingDependencyError

__all__ = ["HostIO", "HostIOName", "make_host_io"]

HostIOName = Literal["cupy", "pycuda"]


class HostIO(Protocol):
    """A stream, page-locked arrays, and copies on that stream; for one thread.

    ``stream`` is the handle that other libraries take.
    """

    stream: int

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """A page-locked array, which copies need not stage."""

    def upload(self, host: NDArray[Any], address: int) -> None:
        """Start a copy of a page-locked array to the device."""

    def download(self, address: int, host: NDArray[Any]) -> None:
        """Start a copy from the device to a page-locked array."""

    def wait(self) -> None:
        """Wait for all that the stream was given."""


def make_host_io(name: HostIOName, device: int) -> HostIO:
    """CuPy's or PyCUDA's; MissingDependencyError where PyCUDA is asked for and missing."""
    return PyCudaIO(device) if name == "pycuda" else CupyIO()


class CupyIO:
    """Through CuPy, on the current device."""

    def __init__(self) -> None:
        self._cuda = cupy().cuda
        self._stream = self._cuda.Stream(non_blocking=True)
        self.stream = int(self._stream.ptr)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        count = int(np.prod(shape))
        memory = self._cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def upload(self, host: NDArray[Any], address: int) -> None:
        self._copy(address, host.ctypes.data, host.nbytes, "memcpyHostToDevice")

    def download(self, address: int, host: NDArray[Any]) -> None:
        self._copy(host.ctypes.data, address, host.nbytes, "memcpyDeviceToHost")

    def wait(self) -> None:
        self._stream.synchronize()

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        runtime = self._cuda.runtime
        with self._stream:
            runtime.memcpyAsync(target, source, size, getattr(runtime, kind), self.stream)


class PyCudaIO:
    """Through PyCUDA, in the device's primary context, which TensorRT and CuPy use too."""

    def __init__(self, device: int) -> None:
        try:
            self._driver = importlib.import_module("pycuda.driver")
        except ImportError as error:  # also where libcuda is missing
            raise MissingDependencyError(
                f'PyCUDA cannot be used ({error}): pip install "pcr-rt[pycuda]".'
            ) from None
        self._driver.init()
        self._context = self._driver.Device(device).retain_primary_context()
        with _Pushed(self._context):
            self._stream = self._driver.Stream()
        self.stream = int(self._stream.handle)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        with _Pushed(self._context):
            array: NDArray[Any] = self._driver.pagelocked_empty(shape, dtype)
        return array

    def upload(self, host: NDArray[Any], address: int) -> None:
        with _Pushed(self._context):
            self._driver.memcpy_htod_async(address, host, self._stream)

    def download(self, address: int, host: NDArray[Any]) -> None:
        with _Pushed(self._context):
            self._driver.memcpy_dtoh_async(host, address, self._stream)

    def wait(self) -> None:
        with _Pushed(self._context):
            self._stream.synchronize()


class _Pushed:
    """A context that is current in this thread for a while; each thread has its own stack."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._context.push()

    def __exit__(self, *_: object) -> None:
        self._context.pop()
