"""Where frames come from: cameras, files, folders, iterators; one call that tells which is meant.

A source is asked for its frames once for each connection, so that a lost camera can be opened
again. Network streams and GStreamer have files of their own.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np
from numpy.typing import NDArray

from pcr_rt.decoding import Decoder
from pcr_rt.errors import InputError
from pcr_rt.media import Camera, VideoReader, is_video, list_images, read_image
from pcr_rt.media.urls import is_url, url_path
from pcr_rt.media.video_reader import DEFAULT_FPS

__all__ = [
    "CameraSource",
    "FolderSource",
    "FrameSource",
    "Source",
    "SourceLike",
    "Sources",
    "StreamDecoder",
    "VideoSource",
    "open_source",
    "open_sources",
]

Frame = NDArray[np.uint8]
Item = tuple["Frame | None", float]
Named = Union[int, str, Path, "Source"]
SourceLike = Named | Iterable[Frame]
Sources = Named | Iterable[Named | Frame | Iterable[Frame]]
StreamDecoder = Literal["cpu", "nvdec", "auto", "nvv4l2"]


class Source(ABC):
    """Something that gives frames.

    name: what messages call it. live: the newest frame counts, otherwise every one does.
    reconnects: a connection that ended was lost and is opened again; otherwise that was the end.
    fps: on average, for recordings; total: how many frames there will be, or None. Both may be
    known only after the first frame. path: the file that is read, if it is one.
    """

    name: str = "source"
    live: bool = False
    reconnects: bool = False
    fps: float = DEFAULT_FPS
    total: int | None = None
    path: Path | None = None

    @abstractmethod
    def frames(self) -> Iterator[Item]:
        """Connect and give (frame, seconds); disconnect when closed.

        A frame is (H, W, 3) uint8 BGR and not changed afterwards, or None where one arrived broken.
        Seconds are those of ``time.monotonic`` at capture for a live source, and the place in the
        video otherwise. Raises InputError where there is no connection.
        """

    def interrupt(self) -> None:  # noqa: B027
        """Called from another thread: a `frames` that waits for a frame should give up soon."""


class CameraSource(Source):
    """A camera of this machine: its number, or a device file such as /dev/video0.

    width, height, fps, fourcc are asked of the driver, None leaves its choice. Many USB cameras
    choose a raw format that is slow at large sizes: fourcc="MJPG" makes them fast.
    """

    live = True
    reconnects = True

    def __init__(
        self,
        camera: int | str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        fourcc: str | None = None,
    ) -> None:
        self.name = f"camera {camera}"
        self._camera = camera
        self._wanted: dict[str, Any] = {
            "width": width,
            "height": height,
            "fps": fps,
            "fourcc": fourcc,
        }
        self.fps = fps or DEFAULT_FPS

    def frames(self) -> Iterator[Item]:
        """Frames until the camera is unplugged."""
        with Camera(self._camera, **self._wanted) as camera:
            self.fps = camera.fps
            for frame in camera:
                yield frame, time.monotonic()


class VideoSource(Source):
    """Every frame of a video file, or of one behind a URL, at its own time.

    decoder: as for `pcr_rt.decoding.open_video`.
    """

    def __init__(self, path: str | Path, *, decoder: Decoder = "cpu") -> None:
        self._path, self._decoder = path, decoder
        self.path = None if is_url(str(path)) else Path(path)
        self.name = f"video {Path(path).name}"  # without folders, or a password in a URL

    def frames(self) -> Iterator[Item]:
        """Frames with the seconds since the first one."""
        with VideoReader(self._path, decoder=self._decoder) as video:
            self.fps, self.total = video.fps, video.frames
            yield from video


class FolderSource(Source):
    """The pictures of a folder in order of name, ``fps`` of them a second."""

    def __init__(self, folder: str | Path, fps: float | None = None) -> None:
        self.name = f"folder {Path(folder).resolve().name}"
        self.fps = fps or DEFAULT_FPS
        self._paths = list_images(folder)
        self.total = len(self._paths)

    def frames(self) -> Iterator[Item]:
        """Frames; None for pictures that cannot be read."""
        for index, path in enumerate(self._paths):
            frame: Frame | None
            try:
                frame = read_image(path)
            except InputError:
                frame = None
            yield frame, index / self.fps


class FrameSource(Source):
    """Frames that the caller makes, (H, W, 3) uint8 BGR; they are copied.

    live: they come from a camera, so the newest counts; otherwise every one does, ``fps`` a second.
    """

    def __init__(
        self, frames: Iterable[Frame], *, fps: float | None = None, live: bool = False
    ) -> None:
        self.name = "frame iterator"
        self.live = live
        self.fps = fps or DEFAULT_FPS
        self._frames = iter(frames)
        if isinstance(frames, Sized):
            self.total = len(frames)

    def frames(self) -> Iterator[Item]:
        """What the iterator gives; it cannot be asked twice."""
        for index, frame in enumerate(self._frames):
            copied = np.array(frame)
            if not copied.ndim:
                raise InputError(f"{frame!r} is no frame: give several sources as a list.")
            yield copied, time.monotonic() if self.live else index / self.fps


def open_sources(sources: Sources, **asked: Any) -> list[Source]:
    """One source or a list of them; a list of frames is one. asked: as for `open_source`."""
    if not isinstance(sources, (list, tuple)):
        return [open_source(sources, **asked)]  # type: ignore[arg-type]
    if not sources:
        raise InputError("The list of sources is empty: name at least one.")
    if all(isinstance(s, np.ndarray) for s in sources):
        return [open_source(sources, **asked)]
    return [open_source(s, **asked) for s in sources]


def open_source(
    source: SourceLike,
    *,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    fourcc: str | None = None,
    decoder: StreamDecoder | None = None,
) -> Source:
    """The source that is meant by a number, a name, a URL, a pipeline, a folder or an iterable.

    ==============================  ==========================================================
    ``0``, ``"0"``, ``/dev/video0``  a camera of this machine
    ``"csi://0"``                   a camera on a Jetson's CSI connector, through GStreamer
    ``"rtsp://..."``, other URLs    a network stream; a video file where the URL's path ends so
    ``"videotestsrc ! ..."``        a GStreamer pipeline
    a folder, a video file          its pictures in order of name, its frames
    an iterable of frames           what it gives
    ==============================  ==========================================================

    width, height, fourcc: asked of a camera; fps also of a folder and an iterable. decoder: of a
    video file or a network stream, as for `pcr_rt.decoding.open_video`, or ``nvv4l2``, a Jetson's
    by GStreamer. Raises InputError where it is none of these, or an option does not suit it.
    """
    from pcr_rt.streaming.gstreamer import GStreamerSource, csi_pipeline, nvv4l2_pipeline
    from pcr_rt.streaming.network import NetworkSource

    asked = {"width": width, "height": height, "fps": fps, "fourcc": fourcc}
    asked["decoder"] = decoder
    for name, value in asked.items():
        if isinstance(value, (int, float)) and value <= 0:
            raise InputError(f"{name} is {value}: give a positive number.")
    opened: Source
    allowed: tuple[str, ...] = ()
    text = str(source) if isinstance(source, (int, str, Path)) else ""
    if isinstance(source, Source):
        opened = source
    elif isinstance(source, np.ndarray):
        raise InputError("A stream needs a source of many frames: call the estimator with one.")
    elif not isinstance(source, (int, str, Path)):
        if not isinstance(source, Iterable):
            raise InputError(f"A {type(source).__name__} is no source of frames.")
        opened, allowed = FrameSource(source, fps=fps), ("fps",)
    elif (text.isdigit() and not Path(text).exists()) or text.startswith("/dev/video"):
        camera: int | str = int(text) if text.isdigit() else text
        opened = CameraSource(camera, width=width, height=height, fps=fps, fourcc=fourcc)
        allowed = tuple(asked)[:4]
    elif text.startswith("csi://"):
        pipeline = csi_pipeline(text, width=width, height=height, fps=fps)
        opened, allowed = GStreamerSource(pipeline, name=f"camera {text}"), tuple(asked)[:3]
    elif " ! " in text and not os.path.exists(text):  # Path.exists refuses long names
        opened = GStreamerSource(text)
    elif Path(text).is_dir():
        opened, allowed = FolderSource(text, fps), ("fps",)
    elif is_url(text) or Path(text).exists():
        path = url_path(text)
        recorded = text.startswith("http") and is_video(path) and not path.endswith(".mjpeg")
        live = is_url(text) and not recorded and not text.startswith("file:")
        kind, allowed = NetworkSource if live else VideoSource, ("decoder",)
        if decoder == "nvv4l2":
            opened = GStreamerSource(nvv4l2_pipeline(text), live=live, name=kind(text).name)
        else:
            opened = kind(text, decoder=decoder or "cpu")
    else:
        raise InputError(
            f"{text} does not exist: give a camera number, a video, a folder, a URL or a GStreamer"
            " pipeline."
        )
    for name, value in asked.items():
        if value is not None and name not in allowed:
            raise InputError(f"{name} cannot be chosen for the {opened.name}: leave it out.")
    return opened
