"""What may be given as a frame: NumPy arrays, NV12 frames, and arrays on a CUDA device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pcr_rt.cuda_kernels.nv12 import Nv12Frame
from pcr_rt.errors import InputError

__all__ = ["DeviceBuffer", "Nv12Frame", "check_frame", "frame_size", "lies_on_device"]

CUDA_KINDS = (2, 13)
"""DLPack's numbers for CUDA memory, plain and managed."""


@dataclass(frozen=True)
class DeviceBuffer:
    """uint8 memory on a CUDA device that is only known by its address, as an array.

    pointer: as PyCUDA's DeviceAllocation gives it by ``int()``; shape: (H, W, 3) of a frame or
    (rows, columns) of an NV12 plane; pitch: bytes from a row to the next, None where rows lie
    close; stream: the handle of the stream that fills it, None if it is ready; owner: kept alive.
    """

    pointer: int
    shape: tuple[int, ...]
    pitch: int | None = None
    stream: int | None = None
    owner: Any = None
    dtype = np.dtype(np.uint8)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        inner = (self.shape[2], 1) if len(self.shape) == 3 else (1,)
        return {
            "shape": self.shape,
            "typestr": "|u1",
            "data": (self.pointer, False),
            "strides": None if self.pitch is None else (self.pitch, *inner),
            "version": 3,
            "stream": self.stream,
        }


def lies_on_device(frame: Any) -> bool:
    """Whether a frame is in a CUDA device's memory; of an NV12 frame, its luma."""
    if isinstance(frame, Nv12Frame):
        return lies_on_device(frame.y)
    if hasattr(frame, "__cuda_array_interface__"):
        return True
    return hasattr(frame, "__dlpack_device__") and frame.__dlpack_device__()[0] in CUDA_KINDS


def frame_size(frame: Any) -> tuple[int, int]:
    """(width, height)."""
    shape = _shape(frame)
    return int(shape[1]), int(shape[0])


def check_frame(frame: Any, *, device: bool = False) -> None:
    """Raise InputError unless ``frame`` is HxWx3 uint8 with at least one pixel, or NV12.

    device: whether it may lie on a CUDA device.
    """
    there = lies_on_device(frame)
    if there and not device:
        raise InputError(
            "The frame lies on a CUDA device, but the models run on the CPU: give a NumPy array, or"
            " models that run on that device."
        )
    if isinstance(frame, Nv12Frame):
        if lies_on_device(frame.uv) != there:
            raise InputError("One plane of the NV12 frame lies on a device and one on the host.")
        if not there and not all(isinstance(p, np.ndarray) for p in (frame.y, frame.uv)):
            raise InputError("The planes of an NV12 frame on the host must be NumPy arrays.")
        return
    if not there and not isinstance(frame, np.ndarray):
        raise InputError(f"A frame must be a NumPy array, not {type(frame).__name__}.")
    shape, dtype = _shape(frame), _dtype(frame)
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        raise InputError(
            "The frame is grey: convert it with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)."
        )
    if len(shape) == 3 and shape[2] == 4:
        raise InputError(
            "The frame has four channels: convert it with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)."
        )
    if len(shape) != 3 or shape[2] != 3:
        raise InputError(f"A frame has shape (height, width, 3), not {shape}.")
    if dtype != "uint8":
        raise InputError(f"The frame's dtype is {dtype}: give uint8 with grey levels 0 to 255.")
    if 0 in shape:
        raise InputError(f"The frame is empty, its shape is {shape}.")


def _shape(frame: Any) -> tuple[int, ...]:
    if hasattr(frame, "shape"):
        return tuple(frame.shape)
    return tuple(frame.__cuda_array_interface__["shape"])


def _dtype(frame: Any) -> str:
    if hasattr(frame, "__cuda_array_interface__"):
        return str(np.dtype(frame.__cuda_array_interface__["typestr"]))
    return str(frame.dtype).rpartition(".")[2]  # torch says "torch.uint8"
