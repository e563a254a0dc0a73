from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pcr_rt.cuda_kernels import kernels
from pcr_rt.frames import check_frames


def test_an_array_interface_is_read_once_a_frame(emulated_device: Any) -> None:
    """PyCUDA makes a dictionary at each reading."""

    class Counting:
        memory = np.zeros((4, 5, 3), np.uint8)
        readings = 0

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            self.readings += 1
            return {**self.memory.__array_interface__, "version": 3, "stream": None}

    array = Counting()
    (interface,) = check_frames([array], device=True).interfaces
    taken = kernels.taken(array, interface, emulated_device.cuda.Stream(non_blocking=True))
    assert array.readings == 1
    assert taken.data.ptr == array.memory.ctypes.data


class Exported:
    """As torch: DLPack, and no interface."""

    def __init__(self) -> None:
        self.memory = np.zeros((4, 5, 3), np.uint8)

    def __dlpack__(self, *, stream: int) -> None:
        pass


@pytest.fixture
def own_context(emulated_device: Any) -> Iterator[Any]:
    """A context of the caller's on device 0, which is not the device's primary one."""
    emulated_device.state.context = "mine"
    yield emulated_device
    del emulated_device.state.context


def test_the_caller_s_context_stays_current(own_context: Any) -> None:
    state = own_context.state
    with kernels.on(0):
        assert state.context == "mine"
    with kernels.on(1):
        assert (own_context.Device().id, state.context) == (1, "primary")
    assert (own_context.Device().id, state.context) == (0, "mine")
    kernels.taken(Exported(), None, own_context.cuda.Stream(non_blocking=True))
    assert state.context == "mine"


def test_a_thread_without_a_context_gets_its_device_back(emulated_device: Any) -> None:
    with pytest.raises(ValueError, match="inside"), kernels.on(1):
        raise ValueError("inside")
    assert emulated_device.Device().id == 0
    del emulated_device.state.context


@pytest.mark.filterwarnings("error")
def test_a_stream_of_another_library(emulated_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.stream_of(77).ptr == 77
    monkeypatch.delattr(emulated_device.Stream, "from_external")  # CuPy 13
    assert kernels.stream_of(78).ptr == 78
