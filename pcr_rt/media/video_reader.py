"""Frames of a video file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.media.urls import TIMEOUT_S, hide_password, is_url
from pcr_rt.media.video_decoder import Decoder, open_video

__all__ = ["DEFAULT_FPS", "TURNS", "VideoReader", "is_video"]

Frame = NDArray[np.uint8]

VIDEO_SUFFIXES = {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm"}
VIDEO_SUFFIXES |= {".3gp", ".m2ts", ".mjpeg", ".mts", ".ogv", ".ts", ".wmv"}
DEFAULT_FPS = 30.0
"""For files and cameras that do not say how fast they are."""

TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
"""By quarter turns counter-clockwise."""


def is_video(path: str | Path) -> bool:
    """Whether the file's name ends like a video's."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


class VideoReader(AbstractContextManager["VideoReader"]):
    """A video file as (frame, seconds since the first frame), to be read once.

    Frames are turned upright as the file says. size: (width, height) of the upright frames; fps:
    on average; frames: how many there should be, or None; decoder: as for
    `pcr_rt.media.video_decoder.open_video`. Raises InputError if the file is missing or holds no
    frame. A file that is damaged or cut short gives what can be decoded, and then raises
    InputError.
    """

    def __init__(self, path: str | Path, *, decoder: Decoder = "cpu") -> None:
        self.path = Path(path)
        self._shown = hide_password(str(path))
        # From the root: FFmpeg takes what stands before a colon for a protocol.
        place = str(path) if is_url(str(path)) else str(self.path.absolute())
        limits = {"timeout": (TIMEOUT_S, TIMEOUT_S)} if is_url(place) else {}
        try:
            self._container = open_video(place, f"video {self.path.name}", decoder, **limits)
        except FFmpegError as error:
            raise InputError(
                f"The video {self._shown} cannot be opened ({error.strerror}): check its name, or"
                " copy or convert it again."
            ) from None
        if not self._container.streams.video:
            self.close()
            raise InputError(f"The file {self._shown} has sound but no video: give another file.")
        self._stream = self._container.streams.video[0]
        if not getattr(self._stream.codec_context, "is_hwaccel", False):
            self._stream.thread_type = "AUTO"
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or DEFAULT_FPS)
        seconds = (self._container.duration or 0) / av.time_base
        self.frames = self._stream.frames or round(seconds * self.fps) or None
        self._damaged = False
        decoded = self._decode()
        first = next(decoded, None)
        if first is None:
            self.close()
            raise InputError(
                f"The video {self._shown} has no frame that can be decoded: copy it again."
            )
        self.size: Size = (first[0].shape[1], first[0].shape[0])
        self._iterator = chain([first], decoded)

    def __iter__(self) -> Iterator[tuple[Frame, float]]:
        return self._iterator

    def _decode(self) -> Iterator[tuple[Frame, float]]:
        count, start, last = 0, 0.0, 0.0
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except FFmpegError:
                self._damaged = True
                continue
            for frame in frames:
                seconds = count / self.fps if frame.time is None else frame.time
                if count == 0:
                    start = seconds
                elif seconds - start < last - 1 / self.fps:
                    # Files that were joined begin anew; the next frame follows on the last one.
                    start = seconds - last - 1 / self.fps
                last = seconds - start
                image, turn = frame.to_ndarray(format="bgr24"), round(frame.rotation / 90) % 4
                upright = cv2.rotate(image, TURNS[turn]) if turn else image
                yield np.asarray(upright, dtype=np.uint8), last
                count += 1
        # Files may rightly leave out a few frames before the first key frame, and what was cut off
        # without encoding, which is in them still but not in their length.
        few = count < 0.95 * self._stream.frames and last + 1 / self.fps < 0.95 * self._length()
        if count and (self._damaged or few):
            raise InputError(
                f"The video {self._shown} is damaged or cut short, and {count} frames of it could"
                " be read: copy or convert it again."
            )

    def _length(self) -> float:
        """Seconds that the file should last, infinite where it does not say."""
        ticks, tick = self._stream.duration, self._stream.time_base
        return math.inf if ticks is None or tick is None else float(ticks * tick)

    def _packets(self) -> Iterator[av.Packet[Any] | None]:
        try:
            yield from self._container.demux(self._stream)
        except FFmpegError:
            self._damaged = True
            yield None  # what the decoder still holds

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __exit__(self, *error: object) -> None:
        self.close()
