from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest

from drawn_frames import Frame, quadrants
from pcr_rt.errors import InputError
from pcr_rt.media import Camera


def test_a_camera_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    level = _log_level()
    with pytest.raises(InputError, match="Camera 99 does not exist"):
        Camera(99)
    assert capfd.readouterr().err == ""
    assert _log_level() == level


def _log_level() -> int:
    logger: Any = getattr(cv2.utils, "logging", cv2)
    return int(logger.getLogLevel())


class FakeCapture:
    """Three frames, then unplugged; remembers what was asked, in order."""

    def __init__(self, camera: int | str) -> None:
        self.left, self.released = 4, False
        self.asked: list[tuple[int, float]] = []

    def read(self) -> tuple[bool, Frame | None]:
        self.left -= 1
        return (True, quadrants()) if self.left >= 0 else (False, None)

    def set(self, what: int, value: float) -> bool:
        self.asked.append((what, value))
        return True

    def get(self, what: int) -> float:
        assert what == cv2.CAP_PROP_FPS
        return 0.0

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_frames_until_it_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    with Camera(0) as camera:
        assert (camera.size, camera.fps) == ((64, 48), 30)
        frames = list(camera)
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[0], quadrants())


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_driver_that_tells_no_rate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rate: float
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "get", lambda *_: rate)
    with Camera(0, width=640) as camera:
        assert camera.fps == 30
    assert "gives 64x48 instead of 640x48" in caplog.text


def test_a_camera_is_asked_for_its_format_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    with Camera("/dev/video0", width=1280, height=720, fps=60, fourcc="MJPG") as camera:
        asked = camera._capture.asked
    # The four letters from the lowest byte on, as Video4Linux packs them.
    assert asked == [
        (cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 60),
    ]
    assert "gives 64x48 instead of 1280x720" in caplog.text
    with pytest.raises(InputError, match="four letters"):
        Camera(0, fourcc="MJPEG")
