"""GStreamer pipelines, run by a child process that writes its frames to a pipe.

This works with every build of OpenCV, a fault in a driver's plugin cannot take this process along,
and a hung pipeline can be ended. Each frame travels as a binary PPM, which carries its own size:
a source may change it, and rows have no padding.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import IO

import cv2
import numpy as np

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.media import DEFAULT_FPS
from pcr_rt.streaming.sources import Frame, Item, Source

__all__ = ["GStreamerSource", "csi_pipeline"]

TIMEOUT_S = 10.0
PPM_HEADER = re.compile(rb"P6\s(?:#[^\n]*\n)?\s*(\d+)\s(\d+)\s255\s")
LONGEST_HEADER = 256


class GStreamerSource(Source):
    """A pipeline in gst-launch's notation; an ``appsink`` at its end may be left out.

    live: by default every pipeline that does not begin with a file. Given up after ``timeout_s``
    without a frame, to be started again if live.
    """

    def __init__(
        self,
        pipeline: str,
        *,
        live: bool | None = None,
        name: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        try:
            elements = shlex.split(pipeline)
        except ValueError as error:
            raise InputError(f"The GStreamer pipeline cannot be read: {error}.") from None
        ends = [i for i, element in enumerate(elements) if element == "!"]
        if ends and elements[ends[-1] + 1 : ends[-1] + 2] == ["appsink"]:
            elements = elements[: ends[-1]]
        self.live = not any(e in ("filesrc", "multifilesrc") for e in elements)
        self.live = self.live if live is None else live
        self.reconnects = self.live
        self.name = name or f"GStreamer pipeline {elements[0]}"
        rate = re.search(r"framerate=(?:\(fraction\))?(\d+)/(\d+)", pipeline)
        self.fps = int(rate[1]) / int(rate[2]) if rate and int(rate[1]) else DEFAULT_FPS
        self._elements = elements
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    def frames(self) -> Iterator[Item]:
        """Frames until the pipeline ends."""
        program = shutil.which("gst-launch-1.0")
        if program is None:
            raise MissingDependencyError(
                "GStreamer pipelines need the program gst-launch-1.0: install GStreamer's tools"
                " (on Debian, Ubuntu and Jetson: apt install gstreamer1.0-tools)."
            )
        # What the reader cannot follow is left out inside of the pipeline, not queued in it.
        newest = "queue leaky=downstream max-size-buffers=1 !" if self.live else ""
        reading, writing = os.pipe()
        tail = f"! videoconvert ! {newest} video/x-raw,format=RGB ! pnmenc ! fdsink fd={writing}"
        command = [program, "-q", *self._elements, *tail.split()]
        with tempfile.TemporaryFile() as said, os.fdopen(reading, "rb", 0) as pipe:
            try:
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    pass_fds=(writing,),
                    start_new_session=True,  # Ctrl-C is ours to handle
                )
            finally:
                os.close(writing)
            try:
                count = 0
                while (frame := self._read(pipe.fileno())) is not None:
                    yield frame, time.monotonic() if self.live else count / self.fps
                    count += 1
                if self._child.wait(self._timeout_s):
                    raise InputError(f"The {self.name} stopped: {_reason(said)}.")
            finally:
                self.interrupt()
                self._child.wait()

    def interrupt(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()

    def _read(self, pipe: int) -> Frame | None:
        """The next frame, or None at the end."""
        header = b""
        while not (found := PPM_HEADER.fullmatch(header)):
            byte = self._bytes(pipe, 1)
            if not byte:
                return None
            header += byte
            if len(header) > LONGEST_HEADER:
                raise InputError(f"The {self.name} gave something else than pictures.")
        width, height = int(found[1]), int(found[2])
        data = self._bytes(pipe, 3 * width * height)
        if len(data) < 3 * width * height:
            return None
        picture = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), dtype=np.uint8)

    def _bytes(self, pipe: int, count: int) -> bytearray:
        """So many bytes, or fewer at the end."""
        data = bytearray(count)
        view, have = memoryview(data), 0
        while have < count:
            if not select.select([pipe], [], [], self._timeout_s)[0]:
                raise InputError(f"The {self.name} gave no frame for {self._timeout_s:.0f} s.")
            got = os.readv(pipe, [view[have:]])
            if not got:
                return data[:have]
            have += got
        return data


def csi_pipeline(
    url: str, *, width: int | None = None, height: int | None = None, fps: float | None = None
) -> str:
    """The pipeline for a Jetson's CSI camera, ``csi://<sensor>``; 1280x720 at 30 by default.

    InputError for another kind of URL.
    """
    sensor = url.removeprefix("csi://")
    if not sensor.isdigit():
        raise InputError(f"{url!r} names no CSI camera: give its number as in 'csi://0'.")
    size = f"width={width or 1280},height={height or 720}"
    rate = f"framerate={round(fps or DEFAULT_FPS)}/1"
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{size},{rate} !"
        " nvvidconv ! video/x-raw,format=BGRx"
    )


def _reason(said: IO[bytes]) -> str:
    """The child's first error in one line."""
    said.seek(0)
    lines = said.read(20_000).decode(errors="replace").splitlines()
    errors = [line for line in lines if "ERROR" in line or "erroneous" in line]
    text = (errors or lines or ["it gave no reason"])[0].strip().rstrip(".")
    return text.removeprefix("WARNING: ").removeprefix("ERROR: ")
