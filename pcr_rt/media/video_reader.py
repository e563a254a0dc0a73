"""Frames of a video file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.media.asf import missing_bytes
from pcr_rt.media.image_headers import is_heif
from pcr_rt.media.structure import has_hole
from pcr_rt.media.urls import TIMEOUT_S, hide_password, is_url
from pcr_rt.media.video_decoder import Decoder, open_video
from pcr_rt.media.video_frames import Frame, FrameDecoder, average_fps, choose_stream

__all__ = ["VIDEO_SUFFIXES", "VideoReader", "is_video"]


VIDEO_SUFFIXES = {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm"}
VIDEO_SUFFIXES |= {".3gp", ".dv", ".m2ts", ".mjpeg", ".mts", ".ogv", ".ts", ".wmv"}
STATE_THEIR_LENGTH = {"mov", "matroska", "avi", "asf", "flv"}
"""Formats whose header tells how long the file should be; FFmpeg estimates it for the others."""
JOINT = 3
"""Packets between the one that FFmpeg marks where two transport streams meet, and the second."""


def is_video(path: str | Path) -> bool:
    """Whether the file's name ends like a video's; a GIF of one frame is an image."""
    suffix = Path(path).suffix.lower()
    return suffix in VIDEO_SUFFIXES and (suffix != ".gif" or _is_animated(path))


def _is_animated(path: str | Path) -> bool:
    """True for a GIF of several frames, and for one that is not there."""
    try:
        with av.open(str(Path(path).absolute()), metadata_errors="replace") as container:
            packets = (packet for packet in container.demux(video=0) if packet.size)
            return next(packets, None) is not None and next(packets, None) is not None
    except FileNotFoundError:
        return True
    except (FFmpegError, IndexError, OSError, ValueError):
        return False


class VideoReader(AbstractContextManager["VideoReader"]):
    """Read a video file as (frame, seconds since the first frame), once.

    Frames are (H, W, 3) uint8 BGR in square pixels, turned and mirrored as the file says, of the
    stream that FFmpeg would choose. size: (width, height) of the frames; fps: on average; frames:
    how many there should be, or None; decoder: as for `pcr_rt.media.video_decoder.open_video`.
    Raises InputError if the file is missing or holds no frame. A file that is damaged or cut short
    gives its sound frames, and then raises InputError.
    """

    def __init__(self, path: str | Path, *, decoder: Decoder = "cpu") -> None:
        self.path = Path(path)
        self._shown = hide_password(str(path))
        # From the root: FFmpeg takes what stands before a colon for a protocol.
        place = str(path) if is_url(str(path)) else str(self.path.absolute())
        limits = {"timeout": (TIMEOUT_S, TIMEOUT_S)} if is_url(place) else {}
        try:
            self._container = open_video(place, f"video {self.path.name}", decoder, **limits)
        except (FFmpegError, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"The video {self._shown} cannot be opened"
                f" ({getattr(error, 'strerror', None) or error}): check its name, or copy or"
                " convert it again."
            ) from None
        if self._is_image():
            self.close()
            raise InputError(
                f"The file {self._shown} is an image: give it the ending of its format, or read it"
                " as an image."
            )
        if self._container.format.name == "tty":  # FFmpeg shows any text as a film
            self.close()
            raise InputError(f"The file {self._shown} is text and no video: give another file.")
        self._stream = choose_stream(self._container)
        if self._stream is None:
            self.close()
            raise InputError(f"The file {self._shown} has sound but no video: give another file.")
        if not getattr(self._stream.codec_context, "is_hwaccel", False):
            self._stream.thread_type = "AUTO"
        self.fps = average_fps(self._container, self._stream)
        self.frames = self._stated_frames()
        self._broken_file = False
        self._end = -math.inf
        """Seconds at which the last packet of any stream ends."""
        items = self._timed()
        first: list[tuple[Frame | None, float]] = []
        for item in items:
            first.append(item)
            if item[0] is not None:
                self.size: Size = (item[0].shape[1], item[0].shape[0])
                break
        else:
            self.close()
            raise InputError(
                f"The video {self._shown} has no frame that can be decoded: copy it again."
            )
        self._items = chain(first, items)

    def _is_image(self) -> bool:
        """FFmpeg opens images as videos of a frame, and of HEIC a single tile."""
        name = self._container.format.name
        if name == "image2" or name.endswith("_pipe"):
            return True
        with suppress(OSError), self.path.open("rb") as file:
            head = file.read(32)
            return is_heif(head) or head[4:12] == b"ftypavif"
        return False

    def __iter__(self) -> Iterator[tuple[Frame, float]]:
        return ((frame, seconds) for frame, seconds in self._items if frame is not None)

    def with_damaged(self) -> Iterator[tuple[Frame | None, float]]:
        """As iterating, with None for each damaged frame."""
        return self._items

    def _stated_frames(self) -> int | None:
        """How many frames the file says that it shows; some count fields, or frames cut off."""
        counted = self._stream.frames
        seconds = self._stated_seconds()
        if "matroska" in self._container.format.name:  # it counts from 0, not from its first frame
            seconds -= max(self._container.start_time or 0, 0) / av.time_base
        by_length = round(seconds * self.fps)
        if by_length and counted and counted <= by_length + 1:
            return int(counted)
        return by_length or counted or None

    def _stated_seconds(self) -> float:
        """How long the file should be; 0 if it does not say."""
        ticks, tick = self._stream.duration, self._stream.time_base
        if ticks and tick:
            return float(ticks * tick)
        return float((self._container.duration or 0) / av.time_base)

    def _timed(self) -> Iterator[tuple[Frame | None, float]]:
        shown = damaged = 0
        start, last, step = 0.0, 0.0, 1 / self.fps
        decoder = FrameDecoder(self._stream)
        for packet in self._packets():
            for frame, seconds in decoder.decode(packet):
                count = shown + damaged
                if not math.isfinite(seconds):
                    follows = step if count and frame is not None else 0.0
                    seconds = start + last + follows
                if count == 0:
                    start = seconds
                elif seconds - start < last - step:
                    # Files that were joined begin anew; the next frame follows on the last one.
                    start = seconds - last - step
                last = max(seconds - start, 0.0)
                shown, damaged = shown + (frame is not None), damaged + (frame is None)
                yield frame, last
        broken = damaged or self._broken_file or self._is_cut(last + step)
        if shown and (broken or has_hole(self.path, self._container.format.name)):
            raise InputError(
                f"The video {self._shown} is damaged or cut short, and {shown} frames of it could"
                " be read: copy or convert it again."
            )

    def _is_cut(self, seconds: float) -> bool:
        """Whether frames are missing at the end, ``seconds`` after the first."""
        if not STATE_THEIR_LENGTH & set(self._container.format.name.split(",")):
            return False
        if self._container.format.name == "asf" and missing_bytes(self.path):
            return True
        stated = self._stated_seconds()
        if self._container.format.name == "avi" and self._stream.average_rate:
            stated = max(stated, float(self._stream.frames / self._stream.average_rate))
        # Files may rightly leave out a few frames before the first key frame, and what was cut off
        # without encoding, which is in them still but not in their length. Other streams may last
        # longer than the video, and times may begin at another one than 0.
        tolerance = max(2 / self.fps, min(0.05 * stated, 1.0))
        begin = (self._container.start_time or 0) / av.time_base
        return max(seconds, self._end, self._end - begin) < stated - tolerance

    def _packets(self) -> Iterator[Any]:
        # A gap, by the format's own counters or at the end of the file. Files that were joined have
        # one where their times begin anew, and miss nothing.
        gap, waited = None, 0
        try:
            for packet in self._container.demux():
                tick = packet.time_base
                if packet.size and packet.pts is not None and tick:
                    self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * tick))
                if packet.stream.index != self._stream.index:
                    continue
                if gap is not None and packet.size:
                    anew = packet.dts is not None and packet.dts <= gap
                    waited += 1
                    self._broken_file |= waited > JOINT and not anew
                    gap = None if anew or self._broken_file else gap
                elif packet.is_corrupt:
                    gap, waited = math.inf if packet.dts is None else packet.dts, 0
                yield packet
            self._broken_file |= gap is not None
        except FFmpegError:
            self._broken_file = True
            with suppress(FFmpegError):
                yield None  # what the decoder still holds

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __exit__(self, *error: object) -> None:
        self.close()
