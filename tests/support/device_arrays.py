"""Arguments and results of kernel calls between the host and a device, whichever CuPy that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pcr_rt.frames import Nv12Frame


@dataclass
class OnDevice:
    """An array that lies on the device before the call, seen through an index.

    device: the number that it claims to lie on, for the emulator.
    """

    base: np.ndarray
    index: Any = ...
    device: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base[self.index].shape

    @property
    def dtype(self) -> np.dtype:
        return self.base.dtype


@dataclass
class Prepared:
    """Frames that are made into a table before the call."""

    frames: list[np.ndarray]


def to_device(value: Any, cupy: Any) -> Any:
    """Copy ``value`` with every `OnDevice` in it as an array of ``cupy``."""
    if isinstance(value, OnDevice):
        array = cupy.asarray(value.base)[value.index]
        if value.device:
            array.device_id = value.device
        return array
    if isinstance(value, Prepared):
        from pcr_rt.cuda_kernels.kernels import frame_table

        return frame_table([cupy.asarray(frame) for frame in value.frames])
    if isinstance(value, Nv12Frame):
        return replace(value, y=to_device(value.y, cupy), uv=to_device(value.uv, cupy))
    if isinstance(value, dict):
        return {key: to_device(v, cupy) for key, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_device(v, cupy) for v in value)
    return value


def to_host(value: Any, cupy: Any) -> Any:
    """Copy results to NumPy arrays; raises TypeError for an array that is not on the device."""
    if isinstance(value, cupy.ndarray):
        return cupy.asnumpy(value)
    if isinstance(value, (list, tuple)):
        return [to_host(v, cupy) for v in value]
    if isinstance(value, np.ndarray):
        return value
    raise TypeError(f"a kernel's wrapper returned {type(value)}")
