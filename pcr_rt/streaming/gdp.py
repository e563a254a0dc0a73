"""GStreamer's data protocol, version 1: raw frames in a pipe, with their times and shape.

A stream is packets of a 62-byte header and a payload. PCR-RT reads two kinds of them: caps, the
text that names format and size of what follows, and buffers, one frame each.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError

__all__ = ["FORMAT", "Picture", "read_pictures"]

FORMAT = "BGR"
"""What the pipeline has to be asked for."""
HEADER = struct.Struct(">BBxxHIQ44x")
"""Version, kind of packet, bytes of payload, time in ns; durations, offsets and checksums."""
BUFFER, CAPS = 1, 2
NO_TIME = 2**64 - 1


class Picture(NamedTuple):
    """A frame (H, W, 3) uint8 BGR, its time in seconds or None, and frames a second or None."""

    frame: NDArray[np.uint8]
    seconds: float | None
    fps: float | None


def read_pictures(read: Callable[[int], bytearray]) -> Iterator[Picture]:
    """The frames of a stream to its end, or to where it is cut off.

    read: gives so many bytes, or fewer at the end. InputError for another kind of stream.
    """
    width = height = 0
    fps = None
    while len(header := read(HEADER.size)) == HEADER.size:
        major, _, kind, length, time_ns = HEADER.unpack(header)
        if major != 1:
            raise InputError("The GStreamer pipeline gave something else than frames.")
        payload = read(length)
        if len(payload) < length:
            return
        if kind == CAPS:
            width, height, fps = _shape(payload.decode(errors="replace"))
        elif kind == BUFFER:
            frame = _frame(payload, width, height)
            yield Picture(frame, None if time_ns == NO_TIME else time_ns / 1e9, fps)


def _shape(caps: str) -> tuple[int, int, float | None]:
    """Width, height and frames a second, the last where it is known and constant."""
    found = re.search(r"width=\(int\)(\d+).*height=\(int\)(\d+)", caps)
    if found is None or f"format=(string){FORMAT}" not in caps:
        raise InputError(f"The GStreamer pipeline gives {caps[:80]!r}, not {FORMAT} frames.")
    rate = re.search(r"framerate=\(fraction\)(\d+)/(\d+)", caps)
    fps = int(rate[1]) / int(rate[2]) if rate and int(rate[1]) else None
    return int(found[1]), int(found[2]), fps


def _frame(data: bytearray, width: int, height: int) -> NDArray[np.uint8]:
    """Rows may be padded at their ends."""
    if not height or len(data) % height or len(data) // height < 3 * width:
        raise InputError(f"The GStreamer pipeline gave {len(data)} bytes for {width}x{height}.")
    rows = np.frombuffer(data, np.uint8).reshape(height, -1)[:, : 3 * width]
    return np.ascontiguousarray(rows).reshape(height, width, 3)
