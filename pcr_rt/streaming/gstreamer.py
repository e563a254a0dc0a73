"""Run GStreamer pipelines in a child process that writes its frames to a pipe.

This works with every build of OpenCV, a fault in a driver's plugin cannot take this process down,
and a hung pipeline can be ended. Frames travel in GStreamer's data protocol (GDP), with their size,
which may change, and their time.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.media.video_frames import DEFAULT_FPS
from pcr_rt.streaming.sources import Item, Source

__all__ = ["GStreamerSource", "TimedFrame", "csi_pipeline", "nvv4l2_pipeline", "read_frames"]

TIMEOUT_S = 10.0
FORMAT = "BGR"
"""The pixel format that the pipeline is asked for."""
HEADER = struct.Struct(">BBxxHIQ44x")
"""A packet's version, kind, bytes of payload and time in ns; the rest is skipped."""
BUFFER, CAPS = 1, 2
MAX_CAPS, MAX_SIDE = 1 << 16, 1 << 15
"""Bytes of a description, and pixels of a frame: what is beyond is no such stream."""
NO_TIME = 2**64 - 1
FILES = ("filesrc", "multifilesrc")


class GStreamerSource(Source):
    """Run a pipeline in gst-launch's notation; an ``appsink`` at its end may be left out.

    live: by default every pipeline that neither begins with a file nor has ``num-buffers``. Lost
    after ``timeout_s`` without a frame, to be started again if live.
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
        self.live = not any(e in FILES or e.startswith("num-buffers=") for e in elements)
        self.live = self.live if live is None else live
        self.reconnects = self.live
        self.name = name or f"GStreamer pipeline {elements[0]}"
        self._elements = elements
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    def frames(self) -> Iterator[Item]:
        """Yield frames until the pipeline ends; a file's with the seconds since its first one."""
        program = shutil.which("gst-launch-1.0")
        if program is None:
            raise MissingDependencyError(
                "GStreamer pipelines need the program gst-launch-1.0: install GStreamer's tools"
                " (on Debian, Ubuntu and Jetson: apt install gstreamer1.0-tools)."
            )
        # Frames that the reader has no time for are dropped in the pipeline, not queued in it.
        newest = "queue leaky=downstream max-size-buffers=1 !" if self.live else ""
        reading, writing = os.pipe()
        raw = f"video/x-raw,format={FORMAT}"
        tail = f"! videoconvert ! {newest} {raw} ! gdppay ! fdsink fd={writing}"
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
                start = None
                timed = read_frames(partial(self._bytes, pipe.fileno()))
                for count, (frame, seconds, fps) in enumerate(timed):
                    self.fps = fps or DEFAULT_FPS
                    seconds = count / self.fps if seconds is None else seconds
                    start = seconds if start is None else start
                    yield frame, time.monotonic() if self.live else seconds - start
                if self._child.wait(self._timeout_s):
                    raise InputError(f"The {self.name} stopped: {_reason(said)}.")
            finally:
                self.interrupt()
                self._child.wait()

    def interrupt(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()

    def _bytes(self, pipe: int, count: int) -> bytearray:
        """Read ``count`` bytes, or fewer at the end."""
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
    """Write the pipeline for a Jetson's CSI camera, ``csi://<sensor>``; 1280x720 at 30 by default.

    Raises InputError for another kind of URL.
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


def nvv4l2_pipeline(source: str) -> str:
    """Write the pipeline that decodes a video file or network stream with a Jetson's hardware.

    decodebin takes the best decoder there is, which is nvv4l2decoder on a Jetson; what the CPU
    decodes is not in NVIDIA's memory and ends the pipeline with an error.
    """
    if source.startswith(("rtsp://", "rtsps://")):
        origin = f"rtspsrc {_property('location', source)} protocols=tcp latency=100"
        origin += " ! application/x-rtp,media=video ! decodebin"
    elif "://" in source:
        origin = f"uridecodebin {_property('uri', source)}"
    else:
        origin = f"filesrc {_property('location', source)} ! decodebin"
    return f"{origin} ! video/x-raw(memory:NVMM) ! nvvidconv ! video/x-raw,format=BGRx"


def _property(name: str, value: str) -> str:
    return f"{name}={shlex.quote(value)}"


def _reason(said: IO[bytes]) -> str:
    """Return the child's first error in one line."""
    said.seek(0)
    lines = said.read(20_000).decode(errors="replace").splitlines()
    errors = [line for line in lines if "ERROR" in line or "erroneous" in line]
    text = (errors or lines or ["it gave no reason"])[0].strip().rstrip(".")
    text = text.removeprefix("WARNING: ").removeprefix("ERROR: ")
    more = [line.partition(", reason ")[2] for line in lines if ", reason " in line]
    return f"{text} ({more[0]})" if more else text


class TimedFrame(NamedTuple):
    """A frame (H, W, 3) uint8 BGR, its time in seconds or None, and frames a second or None."""

    frame: NDArray[np.uint8]
    seconds: float | None
    fps: float | None


def read_frames(read: Callable[[int], bytearray]) -> Iterator[TimedFrame]:
    """Read the frames of a GDP stream to its end, or until it is cut off.

    read: returns so many bytes, or fewer at the end. Raises InputError for another kind of stream.
    """
    width = height = 0
    fps = None
    while len(header := read(HEADER.size)) == HEADER.size:
        major, _, kind, length, time_ns = HEADER.unpack(header)
        # Rows may be padded. Without a check a damaged header would take its gigabytes at once.
        largest = max(MAX_CAPS, 4 * (width + 64) * height)
        if major != 1 or length > largest:
            raise InputError("The GStreamer pipeline gave something other than frames.")
        payload = read(length)
        if len(payload) < length:
            return
        if kind == CAPS:
            width, height, fps = _shape(payload.decode(errors="replace"))
        elif kind == BUFFER:
            frame = _frame(payload, width, height)
            yield TimedFrame(frame, None if time_ns == NO_TIME else time_ns / 1e9, fps)


def _shape(caps: str) -> tuple[int, int, float | None]:
    """Return width, height and frames a second, the last if it is known and constant."""
    found = re.search(r"width=\(int\)(\d{1,9}).*height=\(int\)(\d{1,9})", caps)
    if (
        found is None
        or max(int(found[1]), int(found[2])) > MAX_SIDE
        or f"format=(string){FORMAT}" not in caps
    ):
        raise InputError(f"The GStreamer pipeline gives {caps[:80]!r}, not {FORMAT} frames.")
    rate = re.search(r"framerate=\(fraction\)(\d{1,9})/(\d{1,9})\b", caps)
    fps = int(rate[1]) / int(rate[2]) if rate and int(rate[1]) and int(rate[2]) else None
    return int(found[1]), int(found[2]), fps


def _frame(data: bytearray, width: int, height: int) -> NDArray[np.uint8]:
    """Make (H, W, 3) of a buffer whose rows may be padded at their ends."""
    if not height or len(data) % height or len(data) // height < 3 * width:
        raise InputError(f"The GStreamer pipeline gave {len(data)} bytes for {width}x{height}.")
    rows = np.frombuffer(data, np.uint8).reshape(height, -1)[:, : 3 * width]
    return np.ascontiguousarray(rows).reshape(height, width, 3)
