"""Tell which source of frames is meant by a number, a name, a URL, a pipeline or an iterable."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.media import is_image, is_video
from pcr_rt.media.urls import is_url, url_path
from pcr_rt.streaming.gstreamer import GStreamerSource, csi_pipeline, nvv4l2_pipeline
from pcr_rt.streaming.network import NetworkSource
from pcr_rt.streaming.sources import CameraSource, FolderSource, FrameSource, Source, VideoSource

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["SourceLike", "SourceOptions", "Sources", "StreamDecoder", "open_source", "open_sources"]

Frame = NDArray[np.uint8]
Named = int | str | Path | Source
SourceLike = Named | Iterable[Frame]
Sources = Named | Iterable[Named | Frame | Iterable[Frame]]
StreamDecoder = Literal["cpu", "nvdec", "auto", "nvv4l2"]


class SourceOptions(TypedDict, total=False):
    """What may be asked of a source; None leaves the choice to it.

    width, height, fourcc: of a camera. fps: of a camera, a folder or an iterable. decoder: of a
    video file or a network stream, as for `pcr_rt.media.video_decoder.open_video`, or ``nvv4l2``, a
    Jetson's own through GStreamer.
    """

    width: int | None
    height: int | None
    fps: float | None
    fourcc: str | None
    decoder: StreamDecoder | None


def open_sources(sources: Sources, **options: Unpack[SourceOptions]) -> list[Source]:
    """Open one source or each of a list; a list of frames is one source.

    Raises InputError as `open_source` does, and for an empty list.
    """
    if not isinstance(sources, (list, tuple)):
        return [open_source(sources, **options)]  # type: ignore[arg-type]
    if not sources:
        raise InputError("The list of sources is empty: name at least one.")
    if all(isinstance(s, np.ndarray) for s in sources):
        return [open_source(sources, **options)]
    return [open_source(s, **options) for s in sources]


def open_source(source: SourceLike, **options: Unpack[SourceOptions]) -> Source:
    """Make the source that is meant; it connects when it is asked for frames.

    ==============================  ==========================================================
    ``0``, ``"0"``, ``/dev/video0``  a camera of this machine
    ``"csi://0"``                   a camera on a Jetson's CSI connector, through GStreamer
    ``"rtsp://..."``, other URLs    a network stream; a video file if the URL's path ends in one
                                    or HTTP says how long it is
    ``"videotestsrc ! ..."``        a GStreamer pipeline
    a folder, a video file          its images in order of name, its frames
    an iterable of frames           what it yields
    ==============================  ==========================================================

    Raises InputError if it is none of these, or an option does not suit it.
    """
    if unknown := options.keys() - SourceOptions.__annotations__.keys():
        raise TypeError(f"A source has no option {min(unknown)!r}.")
    asked = {name: value for name, value in options.items() if value is not None}
    for name, value in asked.items():
        if isinstance(value, (int, float)) and value <= 0:
            raise InputError(f"{name} is {value}: give a positive number.")
    width, height, fps = options.get("width"), options.get("height"), options.get("fps")
    opened: Source
    suitable: tuple[str, ...] = ()
    text = str(source) if isinstance(source, (int, str, Path)) else ""
    if isinstance(source, Source):
        opened = source
    elif isinstance(source, np.ndarray):
        raise InputError("A stream needs a source of many frames: call the estimator with one.")
    elif not isinstance(source, (int, str, Path)):
        if not isinstance(source, Iterable):
            raise InputError(f"A {type(source).__name__} is no source of frames.")
        opened, suitable = FrameSource(source, fps=fps), ("fps",)
    elif (text.isdigit() and not os.path.exists(text)) or text.startswith("/dev/video"):
        camera: int | str = int(text) if text.isdigit() else text
        fourcc = options.get("fourcc")
        opened = CameraSource(camera, width=width, height=height, fps=fps, fourcc=fourcc)
        suitable = ("width", "height", "fps", "fourcc")
    elif text.startswith("csi://"):
        pipeline = csi_pipeline(text, width=width, height=height, fps=fps)
        opened = GStreamerSource(pipeline, name=f"camera {text}")
        suitable = ("width", "height", "fps")
    elif " ! " in text and not os.path.exists(text):  # Path.exists refuses long names
        opened = GStreamerSource(text)
    elif os.path.isdir(text):
        opened, suitable = FolderSource(text, fps), ("fps",)
    elif not is_url(text) and is_image(text) and os.path.exists(text):
        raise InputError(f"{text} is an image: give a video, or images alone.")
    elif is_url(text) or os.path.exists(text):
        path = url_path(text)
        recorded = text.startswith("http") and is_video(path) and not path.endswith(".mjpeg")
        live = is_url(text) and not recorded and not text.startswith("file:")
        kind, suitable = NetworkSource if live else VideoSource, ("decoder",)
        decoder = options.get("decoder")
        if decoder == "nvv4l2":
            opened = GStreamerSource(nvv4l2_pipeline(text), live=live, name=kind(text).name)
        else:
            opened = kind(text, decoder=decoder or "cpu")
    else:
        raise InputError(
            f"{text} does not exist: give a camera number, a video, a folder, a URL or a GStreamer"
            " pipeline."
        )
    for name in asked:
        if name not in suitable:
            raise InputError(f"{name} cannot be chosen for the {opened.name}: leave it out.")
    return opened
