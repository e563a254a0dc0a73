"""Frames in and out: pictures, video files and cameras, as (H, W, 3) uint8 BGR arrays."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.geometry import Size

__all__ = ["Camera", "VideoReader", "VideoWriter", "is_video", "list_images", "read_image"]

log = logging.getLogger(__name__)

Frame = NDArray[np.uint8]

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm"}
VIDEO_SUFFIXES |= {".3gp", ".m2ts", ".mjpeg", ".mts", ".ogv", ".ts", ".wmv"}
WRITABLE_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv"}
DEFAULT_FPS = 30.0
"""For files and cameras that do not say how fast they are."""

ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""The first that PyAV has; its wheels have libx264, builds of one's own may not."""
X264_OPTIONS = {"preset": "veryfast", "crf": "21"}
BITS_PER_PIXEL = 0.12  # for the others

BT601, LIMITED_RANGE = 6, 1
TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
"""By quarter turns counter-clockwise."""


def read_image(path: str | Path) -> Frame:
    """The picture (H, W, 3) uint8 BGR, turned upright as its EXIF orientation says.

    Grey becomes BGR, 16 bits become 8, transparency is dropped. Raises InputError where the file
    is missing, cut short or no picture.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"The picture {path} cannot be opened ({error.strerror}): check its name."
        ) from None
    if not _complete(data):
        raise InputError(f"The picture {path} is cut short: copy or download it again.")
    image = None
    with suppress(cv2.error):  # no bytes, or more pixels than OpenCV allows
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(
            f"The file {path} is no picture that OpenCV reads: give a JPEG, PNG, WebP, BMP or TIFF."
        )
    return np.asarray(image, dtype=np.uint8)


def _complete(data: bytes) -> bool:
    """False where the end of a JPEG, PNG or WebP is missing; decoders would make it up."""
    if data.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" in data
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    if not data.startswith(b"\xff\xd8"):
        return True
    # A thumbnail in the header has an end mark of its own: step over the header's segments.
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data.find(b"\xff\xd9", position) >= 0


def list_images(folder: str | Path) -> list[Path]:
    """The pictures of a folder, by their suffix, in order of name. InputError if there are none."""
    try:
        files = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror}.") from None
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"The folder {folder} has no pictures: put some there ({kinds}).")
    return files


def is_video(path: str | Path) -> bool:
    """Whether the file's name ends like a video's."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


class VideoReader(AbstractContextManager["VideoReader"]):
    """A video file as (frame, seconds since the first frame), to be read once.

    Frames are turned upright as the file says. size: (width, height) of the upright frames; fps:
    on average; frames: how many there should be, or None. Raises InputError where the file is
    missing or holds no frame. A file that is damaged or cut short gives what can be decoded, and
    then raises InputError.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._container = av.open(str(path))
        except FFmpegError as error:
            raise InputError(
                f"The video {path} cannot be opened ({error.strerror}): check its name, or copy or"
                " convert it again."
            ) from None
        if not self._container.streams.video:
            self.close()
            raise InputError(f"The file {path} has sound but no video: give another file.")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or DEFAULT_FPS)
        seconds = (self._container.duration or 0) / av.time_base
        self.frames = self._stream.frames or round(seconds * self.fps) or None
        self._damaged = False
        decoded = self._decode()
        first = next(decoded, None)
        if first is None:
            self.close()
            raise InputError(f"The video {path} has no frame that can be decoded: copy it again.")
        self.size: Size = (first[0].shape[1], first[0].shape[0])
        self._iterator = chain([first], decoded)

    def __iter__(self) -> Iterator[tuple[Frame, float]]:
        return self._iterator

    def _decode(self) -> Iterator[tuple[Frame, float]]:
        count, start = 0, None
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except FFmpegError:
                self._damaged = True
                continue
            for frame in frames:
                seconds = count / self.fps if frame.time is None else frame.time
                start = seconds if start is None else start
                image, turn = frame.to_ndarray(format="bgr24"), round(frame.rotation / 90) % 4
                upright = cv2.rotate(image, TURNS[turn]) if turn else image
                yield np.asarray(upright, dtype=np.uint8), seconds - start
                count += 1
        # Files may rightly leave out a few frames before the first key frame.
        if count and (self._damaged or count < 0.95 * self._stream.frames):
            raise InputError(
                f"The video {self.path} is damaged or cut short, and {count} frames of it could be"
                " read: copy or convert it again."
            )

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


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writes frames of one size to an H.264 file (.mp4, .mov, .mkv) that browsers play.

    path: appears when the writer is closed and replaces a file of that name; until then the frames
    lie in a hidden file beside it. size: (width, height) of the frames; odd ones are padded by a
    pixel. Ctrl-C inside ``with`` keeps the frames written, any other error removes them. Raises
    InputError where the file cannot be written.
    """

    def __init__(self, path: str | Path, size: Size, fps: float) -> None:
        self.path = Path(path)
        self.size = size
        self._part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._count = 0
        self._closed = False
        self._rate = rate = Fraction(fps).limit_denominator(1001)
        if self.path.suffix.lower() not in WRITABLE_SUFFIXES or self.path.is_dir():
            raise InputError(f"The video {path} cannot be written: give a file name in .mp4.")
        if min(size) < 1 or rate <= 0:
            raise InputError(f"A video of {size[0]}x{size[1]} at {fps} fps cannot be written.")
        try:
            self._part.touch()
        except OSError as error:
            raise self._failure(error) from None
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        if encoder == "mpeg4":
            log.warning("PyAV has no H.264 encoder: browsers will not play %s (MPEG-4).", path)
        self._container = av.open(str(self._part), "w", options={"movflags": "+faststart"})
        options = X264_OPTIONS if encoder == "libx264" else {}
        stream = self._container.add_stream(encoder, rate, options=options)
        self._stream = cast("av.VideoStream", stream)
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        if not options:
            self._stream.bit_rate = round(BITS_PER_PIXEL * size[0] * size[1] * rate)
        # What swscale makes of BGR; players guess BT.709 for untagged HD and shift the colours.
        self._stream.codec_context.colorspace = BT601
        self._stream.codec_context.color_range = LIMITED_RANGE

    def write(self, frame: Frame) -> None:
        """Append a frame (H, W, 3) uint8 BGR of the writer's size; InputError for another one."""
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            is_not = f"({height}, {width}, 3) uint8, not {frame.shape} {frame.dtype}"
            raise InputError(f"A frame for {self.path.name} has to be {is_not}.")
        if width % 2 or height % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")
        picture.pts, picture.time_base = self._count, 1 / self._rate
        try:
            self._container.mux(self._stream.encode(picture))
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
            if keep:
                self._part.replace(self.path)
        except (FFmpegError, OSError) as error:
            if keep:
                raise self._failure(error) from None
        finally:
            self._part.unlink(missing_ok=True)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        unharmed = kind is None or issubclass(kind, KeyboardInterrupt)
        self._finish(keep=unharmed and self._count > 0)


class Camera(AbstractContextManager["Camera"]):
    """A camera as (frame, seconds since it was opened), without end.

    size, fps: as the driver says; frames: None. Raises InputError where there is no such camera or
    it gives no frame. Ends with a logged warning when the camera is unplugged.
    """

    frames: int | None = None

    def __init__(self, index: int) -> None:
        self.index = index
        # OpenCV 5 keeps these two functions elsewhere than OpenCV 4.
        logger: Any = getattr(cv2.utils, "logging", cv2)
        level = logger.getLogLevel()
        logger.setLogLevel(0)  # every backend that fails would be reported
        try:
            self._capture = cv2.VideoCapture(index)
            works, frame = self._capture.read()
        finally:
            logger.setLogLevel(level)
        if not works:
            self.close()
            raise InputError(
                f"Camera {index} does not exist or gives no picture: check its number and that no"
                " other program uses it."
            )
        self.size: Size = (frame.shape[1], frame.shape[0])
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        self._start = time.monotonic()

    def __iter__(self) -> Iterator[tuple[Frame, float]]:
        while True:
            works, frame = self._capture.read()
            if not works:
                log.warning("Camera %d gives no more frames.", self.index)
                return
            yield np.asarray(frame, dtype=np.uint8), time.monotonic() - self._start

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()

    def __exit__(self, *error: object) -> None:
        self.close()
