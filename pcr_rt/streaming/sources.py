"""Get frames from cameras, files, folders and iterators.

A source is asked for its frames once for each connection, so that a lost camera can be opened
again. `network` and `gstreamer` have further sources, `open` tells which one is meant.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.media import Camera, VideoReader, list_images, read_image
from pcr_rt.media.urls import is_url
from pcr_rt.media.video_decoder import Decoder
from pcr_rt.media.video_frames import DEFAULT_FPS

__all__ = [
    "CameraSource",
    "FolderSource",
    "FrameSource",
    "Source",
    "VideoSource",
]

Frame = NDArray[np.uint8]
Item = tuple["Frame | None", float]


class Source(ABC):
    """Give frames; the base of all sources.

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

        A frame is (H, W, 3) uint8 BGR and not changed afterwards, or None if it arrived broken.
        Seconds are those of ``time.monotonic`` at capture for a live source, and the time in the
        video otherwise. Raises InputError if there is no connection.
        """

    def interrupt(self) -> None:  # noqa: B027
        """Make a `frames` that waits for a frame give up soon; called from another thread."""


class CameraSource(Source):
    """Read a camera of this machine: its number, or a device file such as /dev/video0.

    width, height, fps, fourcc are asked of the driver, None leaves the choice to it. Many USB
    cameras choose a raw format that is slow at large sizes: fourcc="MJPG" makes them fast.
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
        """Yield frames until the camera is unplugged."""
        with Camera(self._camera, **self._wanted) as camera:
            self.fps = camera.fps
            for frame in camera:
                yield frame, time.monotonic()


class VideoSource(Source):
    """Read every frame of a video file, or of one behind a URL, at its own time.

    decoder: as for `pcr_rt.media.video_decoder.open_video`.
    """

    def __init__(self, path: str | Path, *, decoder: Decoder = "cpu") -> None:
        self._path, self._decoder = path, decoder
        self.path = None if is_url(str(path)) else Path(path)
        self.name = f"video {Path(path).name}"  # without folders, or a password in a URL

    def frames(self) -> Iterator[Item]:
        """Yield frames with the seconds since the first one; None for damaged ones."""
        with VideoReader(self._path, decoder=self._decoder) as video:
            self.fps, self.total = video.fps, video.frames
            yield from video.with_damaged()


class FolderSource(Source):
    """Read the images of a folder in order of name, ``fps`` of them a second."""

    def __init__(self, folder: str | Path, fps: float | None = None) -> None:
        self.name = f"folder {Path(folder).resolve().name}"
        self.fps = fps or DEFAULT_FPS
        self._paths = list_images(folder)
        self.total = len(self._paths)

    def frames(self) -> Iterator[Item]:
        """Yield frames; None for images that cannot be read."""
        for index, path in enumerate(self._paths):
            frame: Frame | None
            try:
                frame = read_image(path)
            except InputError:
                frame = None
            yield frame, index / self.fps


class FrameSource(Source):
    """Take frames that the caller makes, (H, W, 3) uint8 BGR; they are copied.

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
        """Yield what the iterator gives; it cannot be asked twice."""
        for index, frame in enumerate(self._frames):
            copied = np.array(frame)
            if not copied.ndim:
                raise InputError(f"{frame!r} is no frame: give several sources as a list.")
            yield copied, time.monotonic() if self.live else index / self.fps
