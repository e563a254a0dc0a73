"""Write results as annotated video, JSON lines, COCO JSON or OpenPose JSON; show them in a window.

A sink is used by one thread at a time. What it has written stays readable if a later write fails,
and it raises InputError if a place cannot be written.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.files import GrowingFile, make_folder, refuse_inputs, write_whole
from pcr_rt.media import VideoWriter
from pcr_rt.media.video_writer import check_video_name
from pcr_rt.poses import Poses
from pcr_rt.streaming.reader import SourceStats
from pcr_rt.streaming.results import Result
from pcr_rt.streaming.sources import Source

__all__ = ["CocoSink", "JsonLinesSink", "OpenPoseSink", "Sink", "StreamLike", "VideoSink", "Window"]


SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
NO_SCREEN = "No window can be opened, there is no screen: use the live page (--serve 8080)."


class StreamLike(Protocol):
    """What a sink asks of the stream it belongs to, which is a `PoseStream`."""

    @property
    def sources(self) -> Sequence[Source]:
        """Where the frames come from."""

    @property
    def stats(self) -> list[SourceStats]:
        """What has become of each source's frames so far."""


class Sink(ABC):
    """Take the results of a stream, in order for each source."""

    name: str = "sink"

    @property
    def paths(self) -> list[Path]:
        """The files and folders that have been written."""
        return []

    def attach(self, stream: StreamLike) -> None:  # noqa: B027
        """Learn, once and before the first result, which stream this belongs to."""

    @abstractmethod
    def write(self, result: Result) -> None:
        """Take a result."""

    @abstractmethod
    def close(self) -> None:
        """Finish."""


class VideoSink(Sink):
    """Write annotated frames to an H.264 file at the times when they were captured.

    Whatever happens while it is written, all but the last two seconds can be played. others: the
    files of further sources, which are otherwise ``name-1.mp4`` and so on. Frames of another size
    than the first are scaled to fit into it.
    """

    def __init__(self, path: str | Path, *others: str | Path) -> None:
        self.name = f"video {path}"
        self._places = [Path(path), *map(Path, others)]
        self._writers: dict[int, tuple[VideoWriter, float]] = {}
        self._closed = False
        for place in self._places:
            check_video_name(place)
            make_folder(place.parent)

    @property
    def paths(self) -> list[Path]:
        """One file for each source that gave frames."""
        return [writer.path for writer, _ in self._writers.values()]

    def attach(self, stream: StreamLike) -> None:
        """Raise InputError if a file is one that the stream reads, or this sink is finished."""
        _refuse_again(self, self._closed)
        read = [source.path for source in stream.sources if source.path is not None]
        for number in range(len(stream.sources)):
            refuse_inputs(self._place(number), *read)

    def write(self, result: Result) -> None:
        """Append the annotated frame."""
        source, timestamp = result.poses.source or 0, result.poses.timestamp or 0.0
        frame = result.annotated()
        if source not in self._writers:
            size = (frame.shape[1], frame.shape[0])
            writer = VideoWriter(self._place(source), size, result.fps, recording=True)
            self._writers[source] = (writer, timestamp)
        writer, start = self._writers[source]
        writer.write(fit(frame, writer.size), timestamp - start)

    def _place(self, source: int) -> Path:
        if source < len(self._places):
            return self._places[source]
        return source_path(self._places[0], source)

    def close(self) -> None:
        """Finish the files."""
        self._closed = True
        for writer, _ in self._writers.values():
            writer.close()


class JsonLinesSink(Sink):
    """Write each frame as a line of JSON (`Poses.to_dict`), flushed at once.

    One file for all sources; with others, which are those of further sources, one for each. Only
    live sources' lines have an age: two runs over a recording write equal files.
    """

    def __init__(self, path: str | Path, *others: str | Path) -> None:
        self.name = f"JSON lines {path}"
        self._files = [GrowingFile(Path(place)) for place in (path, *others)]
        self._sources: Sequence[Source] = ()

    @property
    def paths(self) -> list[Path]:
        """The files that hold a frame."""
        return [file.path for file in self._files if file.used]

    def attach(self, stream: StreamLike) -> None:
        """Raise InputError if another stream has finished this sink."""
        _refuse_again(self, self._files[0].closed)
        self._sources = stream.sources

    def write(self, result: Result) -> None:
        """Append a line."""
        poses = result.poses
        if self._sources and not self._sources[poses.source or 0].live:
            poses = dataclasses.replace(poses, age_ms=None)
        own = poses.source or 0
        file = self._files[own if own < len(self._files) else 0]
        file.append(poses.to_json() + "\n")

    def close(self) -> None:
        """Finish the files."""
        for file in self._files:
            file.close()


class CocoSink(Sink):
    """Write COCO keypoint results; ``image_id`` is the frame's index.

    Each result also has ``timestamp`` and, if tracked, ``track_id``. The file is valid JSON
    after every frame. Further sources get files of their own, ``name-1.json`` and so on.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = f"COCO results {path}"
        self._files = {0: GrowingFile(self.path, "[", "\n]\n")}
        self._comma: dict[int, str] = {}

    @property
    def paths(self) -> list[Path]:
        """One file for each source that gave frames."""
        return [file.path for file in self._files.values() if file.used]

    def attach(self, stream: StreamLike) -> None:
        """Raise InputError if another stream has finished this sink."""
        _refuse_again(self, self._files[0].closed)

    def write(self, result: Result) -> None:
        """Append the frame's people."""
        poses = result.poses
        source = poses.source or 0
        if source not in self._files:
            self._files[source] = GrowingFile(source_path(self.path, source), "[", "\n]\n")
        text = ""
        for row, entry in enumerate(poses.to_coco(poses.frame_index or 0)):
            entry["timestamp"] = poses.timestamp
            if poses.ids is not None:
                entry["track_id"] = int(poses.ids[row])
            text += self._comma.get(source, "") + "\n" + json.dumps(entry, allow_nan=False)
            self._comma[source] = ","
        self._files[source].append(text)

    def close(self) -> None:
        """Finish the files."""
        for file in self._files.values():
            file.close()


class OpenPoseSink(Sink):
    """Write a file per frame as OpenPose names them, ``<name>_<index>_keypoints.json``.

    Further sources' files begin with ``<name>-1`` and so on.
    """

    def __init__(self, folder: str | Path, name: str = "poses") -> None:
        self.name = f"OpenPose folder {folder}"
        self._folder = Path(folder)
        self._prefix = name
        make_folder(self._folder)

    @property
    def paths(self) -> list[Path]:
        """The folder."""
        return [self._folder]

    def write(self, result: Result) -> None:
        """Write the frame's file."""
        poses = result.poses
        stem = source_path(Path(self._prefix), poses.source or 0).name
        path = self._folder / f"{stem}_{poses.frame_index or 0:012d}_keypoints.json"
        write_whole(path, json.dumps(poses.to_openpose()).encode())

    def close(self) -> None:
        """Do nothing: each file is finished when it is written."""


class Window:
    """Show results on this machine's screen; for the main thread only.

    Raises MissingDependencyError if the installed OpenCV has no windows or there is no screen.
    """

    def __init__(self, title: str = "PCR-RT") -> None:
        self._title = title
        if re.search(r"^\s*GUI:\s+NONE", cv2.getBuildInformation(), re.MULTILINE):
            raise MissingDependencyError(
                "The installed OpenCV has no windows: run 'pip uninstall -y opencv-python-headless"
                " && pip install opencv-python', or use the live page (--serve 8080)."
            )
        # Qt would end the process.
        if sys.platform == "linux" and not any(map(os.environ.get, SCREENS)):
            raise MissingDependencyError(NO_SCREEN)

    def show(self, result: Result) -> bool:
        """Show the annotated frame; False if q or Escape was pressed or the window closed.

        Raises MissingDependencyError if the screen cannot be used.
        """
        title = self._title if not result.poses.source else f"{self._title} {result.poses.source}"
        try:
            cv2.imshow(title, result.annotated())
            pressed = cv2.waitKey(1) & 0xFF
            return pressed not in (27, ord("q")) and (
                cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
            )
        except cv2.error:
            raise MissingDependencyError(NO_SCREEN) from None


def _refuse_again(sink: Sink, finished: bool) -> None:
    if finished:
        raise InputError(f"The {sink.name} is finished: make a new sink for each stream.")


def source_path(path: Path, source: int) -> Path:
    """Name a source's file: ``name.mp4`` for the first, ``name-1.mp4`` for the second and so on."""
    return path if source == 0 else path.with_name(f"{path.stem}-{source}{path.suffix}")


def fit(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a frame into (width, height), with black bars if its aspect ratio differs."""
    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    factor = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * factor)), max(1, round(height * factor)))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    scaled = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA)
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas


def scaled(frame: NDArray[np.uint8], poses: Poses, longest: int) -> tuple[NDArray[np.uint8], Poses]:
    """Scale a frame and its people down until no side is longer than ``longest`` pixels."""
    height_now, width_now = frame.shape[:2]
    if max(height_now, width_now) <= longest:
        return frame, poses
    share = longest / max(height_now, width_now)
    size = (max(1, round(width_now * share)), max(1, round(height_now * share)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    # Pixel centres lie at whole numbers: x' + 1/2 = (x + 1/2) * factor.
    factor = (np.array(size) / (width_now, height_now)).astype(np.float32)
    return np.asarray(small, dtype=np.uint8), dataclasses.replace(
        poses,
        keypoints=(poses.keypoints + 0.5) * factor - 0.5,
        boxes=(poses.boxes + 0.5) * np.tile(factor, 2) - 0.5,
        image_size=size,
    )
