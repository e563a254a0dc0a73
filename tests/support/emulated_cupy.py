"""The part of CuPy that the kernels' wrappers use, on NumPy and the emulator.

Stricter than CuPy: arguments of a launch have to fit the kernel's parameters one by one, and new
arrays are full of 255 bytes (NaN, -1), so that what a kernel leaves out shows.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np

library: ctypes.CDLL
reversed_order = False
launches: list[str] = []
"""Names of the kernels launched."""

LETTERS = {"i": np.int32, "f": np.float32, "d": np.float64}


class ndarray(np.ndarray):
    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> Any:
        return SimpleNamespace(id=getattr(self, "device_id", 0))

    def get(self) -> np.ndarray:
        return np.array(self)

    def __array_finalize__(self, parent: Any) -> None:
        self.device_id = getattr(parent, "device_id", 0)


def asarray(array: Any, dtype: Any = None) -> ndarray:
    if isinstance(array, ndarray) and dtype in (None, array.dtype):
        return array
    host = np.array(array, dtype=dtype)
    device = np.empty(host.shape, host.dtype).view(ndarray)
    device[...] = host
    return device


def ascontiguousarray(array: Any, dtype: Any = None) -> ndarray:
    assert isinstance(array, ndarray)
    return np.ascontiguousarray(array, dtype=dtype).view(ndarray)


def empty(shape: Any, dtype: Any = np.float32) -> ndarray:
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = 255
    return array.view(ndarray)


def zeros(shape: Any, dtype: Any = np.float32) -> ndarray:
    return np.zeros(shape, dtype).view(ndarray)


def asnumpy(array: ndarray) -> np.ndarray:
    return array.get()


cuda = SimpleNamespace(
    Device=lambda: SimpleNamespace(id=0), get_current_stream=lambda: SimpleNamespace(ptr=0)
)


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        self.code = code
        assert options == ("--std=c++17",)

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
        values = [
            self._value(i, letter, argument)
            for i, (letter, argument) in enumerate(zip(self.signature, args, strict=True))
        ]
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        message = ctypes.create_string_buffer(2000)
        launches.append(self.name)
        failed = library.launch_kernel(
            self.name.encode(),
            (ctypes.c_uint * 3)(*(*grid, 1, 1)[:3]),
            (ctypes.c_uint * 3)(*(*block, 1, 1)[:3]),
            pointers,
            int(reversed_order),
            message,
            len(message),
        )
        if failed:
            raise RuntimeError(message.value.decode())

    def _value(self, i: int, letter: str, argument: Any) -> np.ndarray:
        """The bytes of one argument, which has to be of the parameter's very type."""
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
