"""What every wrapper of a CUDA kernel needs: compiling, launching, and arrays that fit."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pcr_rt.cuda_kernels.kernels.cuda_source import source
from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.frames import ArrayInterface, Nv12Frame, device_interface, frame_size

log = logging.getLogger(__name__)

__all__ = [
    "FRAME",
    "NULL",
    "DeviceArray",
    "FrameTable",
    "blocks",
    "compile_kernels",
    "constant",
    "constants_kept",
    "cupy",
    "fitting",
    "frame_rows",
    "frame_table",
    "launch",
    "normalisation",
    "on_device",
    "pointers",
    "same_type",
    "typed",
]

DeviceArray = Any
"""A CuPy array, or what can be made into one."""

NULL = np.uint64(0)
"""A pointer to nothing, as a kernel's argument."""

_local = threading.local()

FRAME = struct.Struct("=2Q4i6f")
"""struct Frame of frame.cuh: its pointers, its pitches and sizes, its factors of NV12."""


def cupy() -> Any:
    """Give the module; raise MissingDependencyError if it is not installed."""
    try:
        import cupy as module
    except ImportError:
        raise MissingDependencyError(
            "The GPU path needs CuPy: pip install cupy-cuda12x or cupy-cuda13x."
        ) from None
    return module


@cache
def _kernel(name: str, device: int) -> Any:
    """Give a kernel, compiled for the current device the first time; CuPy keeps it on disk."""
    return _module(device).get_function(name)


@cache
def _module(device: int) -> Any:
    return cupy().RawModule(code=source(), options=("--std=c++17",))


def compile_kernels() -> None:
    """Compile all kernels for the current device now; CuPy raises its own error if that fails."""
    _module(cupy().cuda.Device().id).compile()


def launch(name: str, grid: tuple[int, ...], threads: int, arguments: tuple[Any, ...]) -> None:
    """Queue a kernel on the current stream; CuPy raises its own error if that fails."""
    _kernel(name, cupy().cuda.Device().id)(grid, (threads,), arguments)


def blocks(items: int, size: int = 256) -> int:
    """Count the blocks of ``size`` that hold that many items."""
    return -(-items // size)


def typed(name: str, dtype: Any) -> str:
    """Name the kernel ``name`` for elements of a dtype."""
    return f"{name}_{dtype.name}"


def as_device(array: DeviceArray, what: str) -> DeviceArray:
    """Make ``array``, which has to lie on the host or on the current device, a CuPy array."""
    cp = cupy()
    own = isinstance(array, cp.ndarray)
    check_home(array, None if own else device_interface(array), what)
    return array if own else cp.asarray(array)


def check_home(array: DeviceArray, interface: ArrayInterface | None, what: str) -> None:
    """Raise InputError for an array on another device than the current one: CuPy would copy it.

    interface: the array's, unless it is CuPy's own or lies on the host.
    """
    cp = cupy()
    current = home = cp.cuda.Device().id
    if isinstance(array, cp.ndarray):
        home = array.device.id
    elif interface is not None and (address := interface["data"][0]):  # empty ones have none
        home = cp.cuda.runtime.pointerGetAttributes(address).device
    if home != current:
        raise InputError(
            f"{what} lies on cuda:{home}, but cuda:{current} is current: use "
            f"'with cupy.cuda.Device({home}):' or copy the array."
        )


def on_device(
    array: DeviceArray, dtype: DTypeLike, shape: tuple[int | None, ...], what: str
) -> DeviceArray:
    """Make an array contiguous and of a dtype; shape: None stands for any length."""
    here = as_device(array, what)
    fits = len(here.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, here.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{what} has shape {tuple(here.shape)}, but {shape} is needed.")
    return cupy().ascontiguousarray(here, dtype=dtype)


def fitting(out: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """Give ``out``; raise ValueError unless it is a contiguous array of that shape."""
    if tuple(out.shape) != shape or not out.flags.c_contiguous:
        raise ValueError(f"the array for the result has shape {tuple(out.shape)}, not {shape}")
    return out


def same_type(
    arrays: Sequence[DeviceArray],
    what: str,
    allowed: tuple[type[Any], ...] = (np.float16, np.float32),
) -> list[DeviceArray]:
    """Make arrays contiguous and of one dtype, the widest among theirs."""
    here = [as_device(array, what) for array in arrays]
    if not here:
        raise InputError(f"There is no array in {what}.")
    for array in here:
        if array.dtype not in allowed:
            names = " or ".join(np.dtype(a).name for a in allowed)
            raise InputError(f"{what} must be {names}, not {array.dtype.name}.")
    dtype = np.result_type(*(array.dtype for array in here))
    return [cupy().ascontiguousarray(array, dtype=dtype) for array in here]


def pointers(arrays: Sequence[DeviceArray]) -> DeviceArray:
    """Give the addresses of arrays, on the device."""
    return constant(np.array([array.data.ptr for array in arrays], np.uint64))


def constant(array: NDArray[Any]) -> DeviceArray:
    """Copy a small host array to the device; the same one again needs no copy.

    A copy serves one stream, whose order makes sure that it has arrived, and one thread, since the
    default stream of each may be another of the same number. Raises RuntimeError for a new one
    while the stream is captured: it would be filled when the graph is launched, and not before.
    """
    stream = cupy().cuda.get_current_stream().ptr
    where = cupy().cuda.Device().id, stream, threading.get_ident()
    there = _constant(array.tobytes(), array.dtype.str, array.shape, where)
    kept = getattr(_local, "kept", None)
    if kept is not None:
        kept.append(there)
    return there


@contextmanager
def constants_kept() -> Iterator[list[DeviceArray]]:
    """Collect what `constant` returns in this thread: a graph needs it for as long as it lives."""
    kept: list[DeviceArray] = []
    _local.kept = kept
    try:
        yield kept
    finally:
        _local.kept = None


@lru_cache(maxsize=1024)
def _constant(
    data: bytes, dtype: str, shape: tuple[int, ...], where: tuple[int, int, int]
) -> DeviceArray:
    cp = cupy()
    if cp.cuda.get_current_stream().is_capturing():
        raise RuntimeError("a constant is needed that no run before the capture has made")
    # Not from a plan's pool: it outlives the plan, and a run would not find its memory as before.
    with cp.cuda.using_allocator(cp.get_default_memory_pool().malloc):
        return cp.asarray(np.frombuffer(data, dtype).reshape(shape))


def normalisation(mean: ArrayLike, std: ArrayLike) -> list[np.float32]:
    """Give the scale and shift of each channel: (grey - mean) / std = grey * scale + shift."""
    scale = 1 / np.asarray(std, np.float32)
    return [np.float32(value) for value in (*scale, *(-np.asarray(mean, np.float32) * scale))]


@dataclass(frozen=True)
class FrameTable:
    """Frames as the kernels find them; whoever calls often on the same buffers keeps it."""

    table: DeviceArray
    """struct Frame of each frame."""
    sizes: list[tuple[int, int]]
    """(height, width) of each frame."""
    arrays: list[DeviceArray]
    """What the table points to."""


def frame_rows(
    frames: Sequence[DeviceArray | Nv12Frame],
) -> tuple[NDArray[Any], list[DeviceArray]]:
    """Give what the kernels need to know of frames and their arrays.

    That is (B, 56) uint8 on the host, a row for each `FRAME`.

    Frames are BGR (H, W, 3) uint8 arrays or NV12. Arrays on the device are used in place if a
    pixel's bytes lie together, rows may have any pitch; others are copied. Raises InputError for
    other arrays, or ones on another device.
    """
    rows, arrays = [], []
    for frame in frames:
        if isinstance(frame, Nv12Frame):
            y, uv = _plane(frame.y), _plane(frame.uv)
            places = (y.data.ptr, uv.data.ptr, y.strides[0], uv.strides[0])
            rows.append(FRAME.pack(*places, y.shape[1], y.shape[0], *frame.coefficients))
            arrays += [y, uv]
        else:
            bgr = _bgr(frame)
            places = (bgr.data.ptr, 0, bgr.strides[0], 0)
            rows.append(FRAME.pack(*places, bgr.shape[1], bgr.shape[0], *[0] * 6))
            arrays.append(bgr)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, FRAME.size), arrays


def frame_table(frames: Sequence[DeviceArray | Nv12Frame]) -> FrameTable:
    """Make the table of frames that :func:`frame_rows` describes, on the device."""
    rows, arrays = frame_rows(frames)
    sizes = [frame_size(frame)[::-1] for frame in frames]
    return FrameTable(cupy().asarray(rows), sizes, arrays)


def _bgr(frame: DeviceArray) -> DeviceArray:
    here = as_device(frame, "The frame")
    if here.ndim != 3 or here.shape[2] != 3 or here.dtype != np.uint8 or 0 in here.shape:
        raise InputError(
            f"A frame is uint8 of shape (height, width, 3), not {here.dtype.name} of shape "
            f"{tuple(here.shape)}."
        )
    return here if here.strides[1:] == (3, 1) else _gathered(here, "frame")


def _plane(plane: DeviceArray) -> DeviceArray:
    here = as_device(plane, "The NV12 plane")
    return here if here.strides[1] == 1 else _gathered(here, "NV12 plane")


def _gathered(array: DeviceArray, what: str) -> DeviceArray:
    _note_copies(what)
    return cupy().ascontiguousarray(array)


@cache
def _note_copies(what: str) -> None:
    """Write one line to the log, the first time."""
    log.warning("A pixel's bytes do not lie together in a %s: such ones are copied.", what)
