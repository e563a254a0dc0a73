"""Host arrays through CuPy and PyCUDA, whose driver module is a stand-in on host memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import emulated_cupy
from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.engine import TensorRTBinding, TensorRTEngine
from pcr_rt.errors import MissingDependencyError
from pcr_rt.models import ModelSpec
from toys import PLAIN, brightness_model

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
state = emulated_cupy.state


class Context:
    """A context of PyCUDA's: its own stack of pushed ones, above what the thread had."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.below: list[str] = []

    def push(self) -> None:
        self.below.append(state.context)
        state.context = self.name

    def pop(self) -> None:
        state.context = self.below.pop()


class Stream:
    handle = 77

    def __init__(self) -> None:
        assert state.context == "primary"

    def synchronize(self) -> None:
        assert state.context == "primary"


class Device:
    def __init__(self, number: int) -> None:
        assert number == 0

    def retain_primary_context(self) -> Context:
        return Context("primary")


@pytest.fixture
def autoinit() -> Iterator[None]:
    """A context that ``pycuda.autoinit`` has made, which is not the device's primary one."""
    state.context = "autoinit"
    yield
    del state.context


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch, autoinit: None) -> None:
    driver: Any = ModuleType("pycuda.driver")

    def upload(address: int, host: np.ndarray, stream: Stream) -> None:
        assert state.context == "primary"
        ctypes.memmove(address, host.ctypes.data, host.nbytes)

    def download(host: np.ndarray, address: int, stream: Stream) -> None:
        assert state.context == "primary"
        ctypes.memmove(host.ctypes.data, address, host.nbytes)

    driver.init, driver.Device, driver.Stream = lambda: None, Device, Stream
    driver.pagelocked_empty = np.empty
    driver.memcpy_htod_async, driver.memcpy_dtoh_async = upload, download
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The context of every run of a network."""
    seen: list[str] = []
    enqueue = TensorRTBinding.enqueue

    def watched(self: Any, stream: int) -> None:
        seen.append(state.context)
        enqueue(self, stream)

    monkeypatch.setattr(TensorRTBinding, "enqueue", watched)
    return seen


@pytest.mark.parametrize(("host_io", "context"), [("cupy", "autoinit"), ("pycuda", "primary")])
def test_one_context_from_copy_to_copy_and_the_callers_stays_current(
    tensorrt: Any, pycuda: None, tmp_path: Path, contexts: list[str], host_io: Any, context: str
) -> None:
    plan, _ = cached_engine(load(), brightness_model(tmp_path / "m.onnx", SPEC), SPEC)
    assert state.context == "autoinit"
    engine = TensorRTEngine(plan, host_io=host_io)
    images = np.random.default_rng(0).random((5, 3, 64, 48), dtype=np.float32)
    for _ in range(2):
        np.testing.assert_allclose(engine.run(images)[0][:, 16], images[:, 0], rtol=1e-6)
        assert state.context == "autoinit"
    assert contexts == [context] * 2
    engine.bind(1)
    assert state.context == "autoinit"
    engine.close()
    assert state.context == "autoinit"


def test_leaving_a_device_makes_its_primary_context_current(autoinit: None) -> None:
    """CuPy's contract, which the code above has to work around."""
    with emulated_cupy.cuda.Device(0):
        assert state.context == "autoinit"
    assert state.context == "primary"


def test_missing_pycuda_is_named(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    plan, _ = cached_engine(load(), brightness_model(tmp_path / "m.onnx", SPEC), SPEC)
    with pytest.raises(MissingDependencyError, match=r"\.\[pycuda\]"):
        TensorRTEngine(plan, host_io="pycuda")
