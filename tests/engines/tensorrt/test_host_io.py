"""Host arrays through PyCUDA, whose driver module is a stand-in on host memory."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.engine import TensorRTEngine
from pcr_rt.errors import MissingDependencyError
from pcr_rt.models import ModelSpec
from toys import PLAIN, brightness_model

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)


class Context:
    depth = 0

    def push(self) -> None:
        Context.depth += 1

    def pop(self) -> None:
        Context.depth -= 1


class Stream:
    handle = 77

    def synchronize(self) -> None:
        assert Context.depth == 1


class Device:
    def __init__(self, number: int) -> None:
        assert number == 0

    def retain_primary_context(self) -> Context:
        return Context()


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    driver: Any = ModuleType("pycuda.driver")

    def upload(address: int, host: np.ndarray, stream: Stream) -> None:
        assert Context.depth == 1
        ctypes.memmove(address, host.ctypes.data, host.nbytes)

    def download(host: np.ndarray, address: int, stream: Stream) -> None:
        assert Context.depth == 1
        ctypes.memmove(host.ctypes.data, address, host.nbytes)

    driver.init, driver.Device, driver.Stream = lambda: None, Device, Stream
    driver.pagelocked_empty = np.empty
    driver.memcpy_htod_async, driver.memcpy_dtoh_async = upload, download
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


def test_pycuda_copies_in_the_primary_context(tensorrt: Any, pycuda: None, tmp_path: Path) -> None:
    plan, _ = cached_engine(load(), brightness_model(tmp_path / "m.onnx", SPEC), SPEC)
    engine = TensorRTEngine(plan, host_io="pycuda")
    images = np.random.default_rng(0).random((5, 3, 64, 48), dtype=np.float32)
    for _ in range(2):
        np.testing.assert_allclose(engine.run(images)[0][:, 16], images[:, 0], rtol=1e-6)
    engine.close()
    assert Context.depth == 0


def test_missing_pycuda_is_named(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    plan, _ = cached_engine(load(), brightness_model(tmp_path / "m.onnx", SPEC), SPEC)
    with pytest.raises(MissingDependencyError, match=r"pcr-rt\[pycuda\]"):
        TensorRTEngine(plan, host_io="pycuda").run(np.zeros((1, 3, 64, 48), np.float32))
