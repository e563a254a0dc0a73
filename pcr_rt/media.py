"""Frames in and out: pictures, video files and cameras, as (H, W, 3) uint8 BGR arrays."""

from __future__ import annotations

import logging
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

from pcr_rt.decoding import Decoder, open_video
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

FRAGMENT_S = 2.0
RECORDING_TIME_BASE = Fraction(1, 90_000)
RECORDING_LAYOUT = {
    "movflags": "+frag_keyframe+empty_moov+default_base_moof",
    "flush_packets": "1",
}

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
    on average; frames: how many there should be, or None; decoder: as for
    `pcr_rt.decoding.open_video`. Raises InputError where the file is missing or holds no frame. A
    file that is damaged or cut short gives what can be decoded, and then raises InputError.
    """

    def __init__(self, path: str | Path, *, decoder: Decoder = "cpu") -> None:
        self.path = Path(path)
        try:
            self._container = open_video(str(path), f"video {self.path.name}", decoder)
        except FFmpegError as error:
            raise InputError(
                f"The video {path} cannot be opened ({error.strerror}): check its name, or copy or"
                " convert it again."
            ) from None
        if not self._container.streams.video:
            self.close()
            raise InputError(f"The file {path} has sound but no video: give another file.")
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
    pixel. Ctrl-C inside ``with`` keeps the frames written, any other error removes them.
    recording: frames have timestamps, and the file is there from the start, written in fragments of
    a few seconds, so that nothing but the last one is lost whatever happens. Raises InputError
    where the file cannot be written.
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
        layout = RECORDING_LAYOUT if recording else {"movflags": "+faststart"}
        self._container = av.open(str(self._part), "w", options=layout)
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

    def write(self, frame: Frame, seconds: float = 0.0) -> None:
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
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")
        tick = round(seconds / self._time_base) if self._recording else self._count
        self._last = max(tick, self._last + 1)
        picture.pts, picture.time_base = self._last, self._time_base
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


class Camera(AbstractContextManager["Camera"]):
    """A camera as frames, without end.

    camera: its number, or a device file. width, height, fps, fourcc ("MJPG") are asked of the
    driver; a warning tells what it gives instead. size, fps: what it gives. Raises InputError where
    there is no such camera or it gives no frame. Ends when it is unplugged.
    """

    def __init__(
        self,
        camera: int | str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        fourcc: str | None = None,
    ) -> None:
        self.camera = camera
        if fourcc is not None and len(fourcc) != 4:
            raise InputError(f"fourcc is {fourcc!r}: give four letters such as 'MJPG'.")
        # OpenCV 5 keeps these two functions elsewhere than OpenCV 4.
        logger: Any = getattr(cv2.utils, "logging", cv2)
        level = logger.getLogLevel()
        logger.setLogLevel(0)  # every backend that fails would be reported
        try:
            self._capture = cv2.VideoCapture(camera)
            # The format comes first: it decides which sizes and rates there are.
            if fourcc is not None:
                self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
            for what, value in (
                (cv2.CAP_PROP_FRAME_WIDTH, width),
                (cv2.CAP_PROP_FRAME_HEIGHT, height),
                (cv2.CAP_PROP_FPS, fps),
            ):
                if value is not None:
                    self._capture.set(what, value)
            works, frame = self._capture.read()
        finally:
            logger.setLogLevel(level)
        if not works:
            self.close()
            raise InputError(
                f"Camera {camera} does not exist or gives no picture: check its number and that no"
                " other program uses it."
            )
        self.size: Size = (frame.shape[1], frame.shape[0])
        self.fps: float = self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        if (width or self.size[0], height or self.size[1]) != self.size:
            wanted, given = f"{width}x{height}", f"{self.size[0]}x{self.size[1]}"
            log.warning("Camera %s gives %s instead of %s.", camera, given, wanted)

    def __iter__(self) -> Iterator[Frame]:
        while True:
            works, frame = self._capture.read()
            if not works:
                return
            yield np.asarray(frame, dtype=np.uint8)

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()

    def __exit__(self, *error: object) -> None:
        self.close()
