"""Frames of a video stream: the stream that is meant, upright, in square pixels, sound or not."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

__all__ = ["DEFAULT_FPS", "Frame", "FrameDecoder", "average_fps", "choose_stream"]

Frame = NDArray[np.uint8]

DEFAULT_FPS = 30.0
"""For files and cameras that do not say how fast they are."""
COUNTS_MORE = 0.75
"""A stated rate counts more than frames if FFmpeg guesses less than this part of it."""
STRICT = {"mjpeg"}
"""Codecs of which FFmpeg refuses damaged frames if asked to, and otherwise tells nothing."""
MAX_PIXEL_ASPECT = 10.0
"""Pixels that are longer than this stand for a damaged header and count as square."""


def choose_stream(container: Any) -> Any:
    """The video stream that FFmpeg would choose, never a cover image; None if there is none."""
    films = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
    # Cameras also store a preview as a stream of a single frame that is not marked.
    films = [s for s in films if s.frames != 1] or films
    best = container.streams.best("video")
    if not films or best in films:
        return best if films else None
    return max(films, key=lambda stream: stream.width * stream.height)


def average_fps(container: Any, stream: Any) -> float:
    """Frames per second of a stream.

    Containers that state a rate may count fields or ticks (AVI, DV) and thus twice as many or more;
    FFmpeg's guess may be off for an uneven rate. Without timestamps only the codec knows.
    """
    stated, guessed = stream.average_rate, stream.guessed_rate
    if container.start_time is None and guessed:
        return float(guessed)
    counts_more = stated and guessed and guessed < COUNTS_MORE * stated
    return float(guessed if counts_more else stated or guessed or DEFAULT_FPS)


class FrameDecoder:
    """Decodes the packets of one stream.

    From a frame that FFmpeg had to make up, or a packet that it refused, to the next key frame
    every frame counts as damaged. What comes before the first key frame of a stream that was
    joined on the way does not count at all.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        if stream.codec_context.name in STRICT:
            stream.codec_context.options = {"err_detect": "explode"}
        self._begun = False
        self._broken_from: float | None = None
        """In the stream's units: decoding time of a packet that was refused, which nothing decoded
        later is shown before, or presentation time of a made-up frame."""
        self._slots: deque[int] = deque()
        self._last_pts = -math.inf
        self._offset: int | None = None
        self._constant = True
        self._true_times = False

    def decode(self, packet: Any) -> Iterator[tuple[Frame | None, float]]:
        """(frame, seconds) of what a packet completes; None for a damaged frame.

        packet: None for what the decoder still holds. seconds: NaN if the stream has no times.
        """
        flush = packet is None or not packet.size
        if not flush:
            self._note_times(packet)
        try:
            decoded = self._stream.decode(packet)
        except FFmpegError:
            if self._begun or (not flush and packet.is_keyframe):
                if self._slots and not flush:
                    self._slots.pop()
                self._break(None if flush else packet.dts)
                yield None, math.nan
            return
        for frame in decoded:
            self._begun = True
            seconds = self._seconds(frame)
            if self._is_damaged(frame):
                yield None, seconds
            else:
                yield self._converted(frame), seconds

    def _converted(self, frame: av.VideoFrame) -> Frame | None:
        try:
            return _upright(frame, self._stream.sample_aspect_ratio)
        except (FFmpegError, ValueError):  # a pixel format or size that cannot be converted
            self._break(frame.pts)
            return None

    def _break(self, ticks: int | None) -> None:
        begin = -math.inf if ticks is None else ticks
        self._broken_from = min(begin, math.inf if self._broken_from is None else self._broken_from)

    def _is_damaged(self, frame: av.VideoFrame) -> bool:
        if frame.is_corrupt:
            self._break(frame.pts)
            return True
        after = self._broken_from is not None and (frame.pts or 0) >= self._broken_from
        if after and frame.key_frame:
            self._broken_from = None
        return after and not frame.key_frame

    # Some files (H.264 in AVI, and AVI's way in Matroska) store no presentation times. FFmpeg then
    # takes the decoding times plus a constant, which are right but belong to other frames as soon
    # as frames are reordered: the n-th frame that is shown has the n-th of them. Times that go back
    # from packet to packet are from the file.

    def _note_times(self, packet: Any) -> None:
        if self._true_times or packet.pts is None or packet.is_discard:
            return
        self._true_times = packet.pts < self._last_pts
        self._last_pts = packet.pts
        slot = packet.pts
        if packet.dts is not None:  # Matroska's first packets have none
            offset = packet.pts - packet.dts
            if self._offset is None:
                self._offset = offset
            # Only the last one of the file differs by up to its duration, which is rounded.
            self._constant &= abs(offset - self._offset) <= (packet.duration or 0) + 1
            slot = packet.dts + self._offset if self._constant else packet.pts
        self._slots.append(slot)

    def _seconds(self, frame: av.VideoFrame) -> float:
        slot = self._slots.popleft() if self._slots else None
        time = frame.time
        if not (self._true_times or slot is None) and self._stream.codec_context.has_b_frames:
            time = float(slot * self._stream.time_base)
        return math.nan if time is None else time


def _upright(frame: av.VideoFrame, pixel_aspect: Any) -> Frame:
    """(H, W, 3) uint8 BGR in square pixels, turned and mirrored as the file says."""
    aspect = float(pixel_aspect or 1)
    width, height = frame.width, frame.height
    if 1 < aspect <= MAX_PIXEL_ASPECT:
        width = round(width * aspect)
    elif 1 / MAX_PIXEL_ASPECT <= aspect < 1:
        height = round(height / aspect)
    if (width, height) == (frame.width, frame.height):
        image = frame.to_ndarray(format="bgr24")
    else:
        image = frame.reformat(width=width, height=height, format="bgr24").to_ndarray()
    sides: Any = frame.side_data  # its stubs speak of names
    for side in sides:
        if side.type.name == "DISPLAYMATRIX":
            image = _displayed(image, np.frombuffer(bytes(side), np.int32))
    return np.asarray(image, dtype=np.uint8)


def _displayed(image: NDArray[Any], matrix: NDArray[np.int32]) -> NDArray[Any]:
    """The image as a display matrix (9,) shows it: x' = ax + cy, y' = bx + dy, y downwards.

    Other angles than quarter turns are rounded to them.
    """
    a, b, c, d = (int(v) for v in matrix[[0, 1, 3, 4]])
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = cv2.transpose(image), c, b
    if a < 0 and d < 0:
        return cv2.flip(image, -1)
    if a < 0:
        return cv2.flip(image, 1)
    return cv2.flip(image, 0) if d < 0 else image
