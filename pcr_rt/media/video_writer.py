"""Frames into a video file."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.geometry import Size

__all__ = ["VideoWriter", "check_video_name"]

log = logging.getLogger(__name__)

WRITABLE_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv"}
ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""The first that PyAV has; its wheels have libx264, builds of one's own may not."""
X264_OPTIONS = {"preset": "veryfast", "crf": "21"}
BITS_PER_PIXEL = 0.12  # for the others

FRAGMENT_S = 2.0
RECORDING_TIME_BASE = Fraction(1, 90_000)
RECORDING_LAYOUT = {
    "movflags": "+frag_keyframe+empty_moov+default_base_moof",
    "flush_packets": "1",
}

BT601, LIMITED_RANGE = 6, 1


def check_video_name(path: Path) -> None:
    """InputError for a place that no video can be written to."""
    if path.suffix.lower() not in WRITABLE_SUFFIXES or path.is_dir():
        raise InputError(f"The video {path} cannot be written: give a file name in .mp4.")


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writes frames of one size to an H.264 file (.mp4, .mov, .mkv) that browsers play.

    path: appears when the writer is closed and replaces a file of that name; until then the frames
    lie in a hidden file beside it. size: (width, height) of the frames; odd ones are padded by a
    pixel. Ctrl-C inside ``with`` keeps the frames written, any other error removes them.
    recording: frames have timestamps, and the file is there from the start, written in fragments of
    a few seconds, so that nothing but the last one is lost whatever happens. Raises InputError
    if the file cannot be written.
    """

    def __init__(
        self, path: str | Path, size: Size, fps: float, *, recording: bool = False
    ) -> None:
        self.path = Path(path)
        self.size = size
        self._recording = recording
        hidden = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._part = self.path if recording else hidden
        self._last = -1
        self._count = 0
        self._closed = False
        rate = Fraction(fps).limit_denominator(1001)
        check_video_name(self.path)
        if min(size) < 1 or rate <= 0:
            raise InputError(f"A video of {size[0]}x{size[1]} at {fps} fps cannot be written.")
        try:
            self._part.touch()
        except OSError as error:
            raise self._failure(error) from None
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        if encoder == "mpeg4":
            log.warning("PyAV has no H.264 encoder: browsers will not play %s (MPEG-4).", path)
        layout = RECORDING_LAYOUT if recording else {"movflags": "+faststart"}
        # From the root: FFmpeg takes what stands before a colon for a protocol.
        self._container = av.open(str(self._part.absolute()), "w", options=layout)
        options = dict(X264_OPTIONS) if encoder == "libx264" else {}
        if recording and options:
            options |= {"tune": "zerolatency"}  # fragments hold what has been written
        stream = self._container.add_stream(encoder, rate, options=options)
        self._stream = cast("av.VideoStream", stream)
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._time_base = 1 / rate
        if recording:
            self._time_base = RECORDING_TIME_BASE
            self._stream.codec_context.time_base = RECORDING_TIME_BASE
            self._stream.codec_context.gop_size = max(1, round(FRAGMENT_S * rate))
        if not options:
            self._stream.bit_rate = round(BITS_PER_PIXEL * size[0] * size[1] * rate)
        # What swscale makes of BGR; players guess BT.709 for untagged HD and shift the colours.
        self._stream.codec_context.colorspace = BT601
        self._stream.codec_context.color_range = LIMITED_RANGE

    def write(self, frame: NDArray[Any], seconds: float = 0.0) -> None:
        """Append a frame (H, W, 3) uint8 BGR of the writer's size; InputError for another one.

        seconds: its time since the first frame, for recordings; a frame no later than the one
        before it is shown right after that.
        """
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            is_not = f"({height}, {width}, 3) uint8, not {frame.shape} {frame.dtype}"
            raise InputError(f"A frame for {self.path.name} has to be {is_not}.")
        if width % 2 or height % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        encoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")
        tick = round(seconds / self._time_base) if self._recording else self._count
        self._last = max(tick, self._last + 1)
        encoded.pts, encoded.time_base = self._last, self._time_base
        try:
            self._container.mux(self._stream.encode(encoded))
        except (FFmpegError, OSError) as error:
            raise self._failure(error) from None
        self._count += 1

    def _failure(self, error: FFmpegError | OSError) -> InputError:
        return InputError(
            f"The video {self.path} cannot be written ({error.strerror}): give another place."
        )

    def close(self) -> None:
        """Finish the file; without frames there will be none."""
        self._finish(keep=self._count > 0)

    def _finish(self, keep: bool) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if keep:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if keep and not self._recording:
                self._part.replace(self.path)
        except (FFmpegError, OSError) as error:
            if keep:
                raise self._failure(error) from None
        finally:
            if not (self._recording and self._count):
                self._part.unlink(missing_ok=True)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        unharmed = kind is None or issubclass(kind, KeyboardInterrupt)
        self._finish(keep=unharmed and self._count > 0)
