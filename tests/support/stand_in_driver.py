"""NVIDIA's driver library with one GPU, as the CUDA driver API describes its functions."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest


class Driver:
    """``code``: what cuInit answers; ``version``: 1000 x major + 10 x minor of its CUDA."""

    def __init__(self) -> None:
        self.code, self.count, self.version = 0, 1, 12060

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Driver:
        def load(name: str) -> Any:
            if name == "libcuda.so.1":
                return self
            raise OSError(name)

        monkeypatch.setattr(ctypes, "CDLL", load)
        return self

    def cuInit(self, flags: int) -> int:
        return self.code

    def cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = self.version

    def cuDeviceGetCount(self, count: Any) -> None:
        count._obj.value = self.count

    def cuDeviceGet(self, device: Any, number: int) -> None:
        device._obj.value = number

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> None:
        name.value = b"Orin"

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> None:
        memory._obj.value = 8 << 30

    def cuDeviceGetAttribute(self, value: Any, key: int, device: Any) -> None:
        value._obj.value = {75: 8, 76: 7, 16: 16}[key]
