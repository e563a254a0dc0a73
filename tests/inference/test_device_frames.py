"""Frames that lie on the device, of every library, and those that are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import emulated_cupy
from pcr_rt.errors import InputError
from pcr_rt.frames import DeviceBuffer, Nv12Frame
from pcr_rt.inference.estimator import PoseEstimator
from stand_in_engine import StandInEngine
from toy_estimators import BOXES, both, same

pytestmark = pytest.mark.usefixtures("cupy")


class Foreign:
    """An array of another library: on the device, with its stream."""

    def __init__(self, memory: np.ndarray, **more: Any) -> None:
        self.memory, self.shape = memory, memory.shape
        interface = memory.__array_interface__
        self.__cuda_array_interface__ = {**interface, "version": 3, **more}


class Exported:
    """As torch: DLPack, and an interface that names no stream."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory, self.shape, self.dtype = memory, memory.shape, "torch.uint8"
        self.__cuda_array_interface__ = {**memory.__array_interface__, "version": 2}
        self.streams: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int) -> None:
        self.streams.append(stream)


def test_arrays_of_every_library_in_place_and_in_order(
    model: Path, frame: np.ndarray, cupy: Any
) -> None:
    host, device = both(lambda kind: kind(model))
    expected = host(frame, BOXES)
    same(device(frame, BOXES), expected)
    stream = device._stages._local.worker.stream.ptr
    wide = np.zeros((72, 100, 3), np.uint8)
    wide[:, :64] = frame
    torch_like = Exported(frame)
    cases = [
        (Foreign(frame, stream=77), [(stream, 77)]),
        (Foreign(wide[:, :64], stream=None), [(stream, 0)]),  # PyCUDA: on the default stream
        (Foreign(frame, version=2), [(stream, 0)]),
        (torch_like, []),
        (DeviceBuffer(wide.ctypes.data, (72, 64, 3), pitch=300, stream=5), [(stream, 5)]),
        (DeviceBuffer(frame.ctypes.data, (72, 64, 3), owner=frame), [(stream, 0)]),
    ]
    for given, waits in cases:
        cupy.synchronisations.clear()
        cupy.waits.clear()
        same(device(given, BOXES), expected)
        assert cupy.synchronisations == ["stream"]
        assert cupy.waits == waits
    assert torch_like.streams == [stream]
    caller = cupy.Stream()
    with caller:
        same(device(emulated_cupy.asarray(frame), BOXES), expected)
    assert cupy.waits[-1] == (stream, caller.ptr)


def test_nv12_on_both_paths(model: Path, frame: np.ndarray) -> None:
    y, uv = frame[..., 0].copy(), np.full((36, 64), 120, np.uint8)
    uv[:, 1::2] = 150
    host, device = both(lambda kind: kind(model), decode="quarter")
    expected = host(Nv12Frame(y, uv), BOXES)
    assert len(expected) > 0
    same(device(Nv12Frame(y, uv), BOXES), expected)
    same(device(Nv12Frame(Foreign8(y), Foreign8(uv)), BOXES), expected)


class Foreign8(Foreign):
    dtype = np.dtype(np.uint8)


def test_frames_that_are_refused(
    model: Path, frame: np.ndarray, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, device = both(lambda kind: kind(model))
    for given, words in (
        (Foreign(frame.astype(np.float32)), "float32"),
        (Foreign(frame[..., 0]), "grey"),
        (Foreign(np.zeros((9, 9, 4), np.uint8)), "four channels"),
        (frame.tolist(), "NumPy"),
        (SimpleNamespace(__dlpack_device__=lambda: (1, 0)), "NumPy"),
        (Nv12Frame(Foreign8(frame[..., 0]), frame[:36, :, 0]), "One plane"),
    ):
        with pytest.raises(InputError, match=words):
            device(given, BOXES)
    elsewhere = Foreign(frame, stream=None)
    with monkeypatch.context() as patch:
        patch.setitem(emulated_cupy.homes, frame.ctypes.data, 1)
        with pytest.raises(InputError, match="lies on cuda:1"):
            device(elsewhere, BOXES)
    other = emulated_cupy.seen(frame.copy(), device=1)
    with pytest.raises(InputError, match="lies on cuda:1"):
        device(other, BOXES)
    with pytest.raises(InputError, match="give a NumPy array"):
        host(Foreign(frame), BOXES)
    same(device(frame, BOXES), host(frame, BOXES))  # nothing is left over from the failures
    device.close()
    with pytest.raises(InputError, match="closed"):
        device(frame, BOXES)


def test_a_frame_whose_pixels_are_apart_is_copied_with_a_notice(
    model: Path, frame: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    host, device = both(lambda kind: kind(model))
    apart = frame.transpose(2, 0, 1).copy().transpose(1, 2, 0)
    for _ in range(2):
        same(device(Foreign(apart, stream=None), BOXES), host(frame, BOXES))
    assert caplog.text.count("such ones are copied") == 1


def test_the_second_device(model: Path, frame: np.ndarray, cupy: Any) -> None:
    here = StandInEngine(model, device=1)
    with pytest.raises(InputError, match="cuda:0 and cuda:1"):
        PoseEstimator([here, StandInEngine(model)], detector=None)
    device = PoseEstimator(here, detector=None, score_threshold=0.05)
    expected = PoseEstimator(model, detector=None, score_threshold=0.05)(frame, BOXES)
    same(device(frame, BOXES), expected)
    assert cupy.Device().id == 0


def test_estimators_on_two_devices_take_turns(model: Path, frame: np.ndarray, cupy: Any) -> None:
    options: dict[str, Any] = {"detector": None, "score_threshold": 0.05}
    expected = PoseEstimator(model, **options)(frame, BOXES)
    first, second = (PoseEstimator(StandInEngine(model, device=i), **options) for i in range(2))
    for _ in range(3):  # eager, recorded, again
        for device in (first, second):
            same(device(frame, BOXES), expected)
            assert cupy.Device().id == 0
    there = emulated_cupy.seen(frame.copy(), device=1)
    same(second(there, BOXES), expected)
    with pytest.raises(InputError, match="lies on cuda:1, but cuda:0 is current"):
        first(there, BOXES)
    first.close()
    same(second(frame, BOXES), expected)
