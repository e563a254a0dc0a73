"""Annotate images, videos and cameras: drawn people and JSON lines; the demo is one call of it."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.drawing import DrawOptions, contact_sheet
from pcr_rt.errors import InputError
from pcr_rt.files import GrowingFile, fitting_name
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.media import VideoReader, is_video, read_image, write_image
from pcr_rt.media.images import can_write
from pcr_rt.streaming.open import open_sources
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.reader import SourceStats
from pcr_rt.streaming.results import Result
from pcr_rt.streaming.shutdown import finished_first
from pcr_rt.streaming.sinks import JsonLinesSink, Sink, VideoSink
from pcr_rt.streaming.sources import Source

__all__ = [
    "SAMPLE_CLIP",
    "Summary",
    "free_name",
    "free_place",
    "process_images",
    "process_stream",
    "run_demo",
]

log = logging.getLogger(__name__)

SAMPLE_CLIP = Path(__file__).parent / "samples" / "walk.mp4"
SHEET_COLUMNS = 3
CELL = (480, 270)
"""(width, height) of an image on the demo's contact sheet."""

Frame = NDArray[np.uint8]
Progress = Callable[[int, "int | None"], None]
"""Takes how many frames are done and how many there are, if that is known."""
Watch = Callable[[Result], bool]
"""Sees each result; False ends the work."""


@dataclass
class Summary:
    """What was done: frames, people found, wall seconds, and milliseconds of each stage in all.

    people: by id, so each counts once in a video; those without ids count in every frame. failed:
    images that could not be read, or sources that ended with an error. skipped, skipped_frames:
    files that an earlier run had finished, and their part of ``frames``. failures: what was wrong
    with each file of a folder. interrupted: Ctrl-C came before the end.
    """

    frames: int = 0
    people: int = 0
    failed: int = 0
    skipped: int = 0
    skipped_frames: int = 0
    interrupted: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    stages_ms: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    outputs: list[Path] = field(default_factory=list)
    sources: list[SourceStats] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Frames per second of the whole job, reading and writing included."""
        return (self.frames - self.skipped_frames) / self.seconds if self.seconds else 0.0

    def stage_means_ms(self) -> dict[str, float]:
        """Return the milliseconds per frame of each stage."""
        return {name: total / max(self.frames, 1) for name, total in self.stages_ms.items()}

    def to_dict(self) -> dict[str, object]:
        """Return JSON-safe counts, fps, ms per frame of each stage, files and source stats."""
        return {
            "frames": self.frames,
            "people": self.people,
            "failed": self.failed,
            **({"skipped": self.skipped} if self.skipped else {}),
            **({"failures": self.failures} if self.failures else {}),
            "fps": round(self.fps, 2),
            "ms_per_frame": {k: round(v, 2) for k, v in self.stage_means_ms().items()},
            "outputs": [str(path) for path in self.outputs],
            **({"sources": [asdict(s) for s in self.sources]} if self.sources else {}),
        }

    @contextmanager
    def until_interrupted(self) -> Iterator[None]:
        """Do what is inside; Ctrl-C ends it, and is noted."""
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        yield
        self.stages_ms[name] += (time.perf_counter() - start) * 1e3


def process_images(
    estimator: PoseEstimator,
    paths: Iterable[Path],
    output: Path,
    *,
    drawing: DrawOptions | None = None,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Annotate images into the folder ``output``: one image each, and ``poses.jsonl``.

    If several would get the same name, the second is called ``name-poses-1.jpg`` and so on; if the
    given names are not all different, ``file`` in the JSON is the whole path. Images that cannot be
    read are left out with a warning.
    Raises InputError if none can be read or the folder cannot be written; what was written before
    stays.
    """
    paths = list(paths)
    names, taken = {path.name for path in paths}, {path.resolve() for path in paths}
    summary, start = Summary(), time.perf_counter()
    with closing(GrowingFile(output / "poses.jsonl")) as lines, summary.until_interrupted():
        for index, path in enumerate(paths):
            try:
                with summary.stage("read"):
                    frame = read_image(path)
            except InputError as error:
                if len(paths) == 1:
                    raise
                log.warning("Left out: %s", error)
                summary.failed += 1
                progress(index + 1, len(paths))
                continue
            poses = estimator(frame)
            for name, milliseconds in estimator.timings.items():
                summary.stages_ms[name] += milliseconds
            with summary.stage("draw"):
                drawn = poses.draw(frame, **(drawing or {}))
            with summary.stage("write"), finished_first():
                target = free_name(output, path, taken)
                taken.add(target.resolve())
                write_image(target, drawn)
                file = path.name if len(names) == len(paths) else str(path)
                if not summary.outputs:
                    summary.outputs.append(lines.path)
                lines.append(json.dumps({"file": file, **poses.to_dict()}) + "\n")
                summary.outputs.append(target)
                summary.frames += 1
                summary.people += len(poses)
            progress(index + 1, len(paths))
    if paths and not summary.frames and not summary.interrupted:
        raise InputError(f"None of the {len(paths)} images can be read.")
    summary.seconds = time.perf_counter() - start
    return summary


def free_name(output: Path, path: Path, taken: set[Path]) -> Path:
    """Name the annotated image or video; taken: resolved paths of the others and of all inputs."""
    suffix = path.suffix if can_write(path.suffix) else ".jpg"
    return free_place(output, path.stem, "-poses", ".mp4" if is_video(path) else suffix, taken)


def free_place(output: Path, stem: str, ending: str, suffix: str, taken: set[Path]) -> Path:
    """Name a file of ``output`` that is not in taken: ``stem-poses.mp4``, ``stem-poses-1.mp4``."""
    endings = (f"{ending}-{number}" if number else ending for number in count())
    places = (output / fitting_name(stem, end + suffix) for end in endings)
    return next(place for place in places if place.resolve() not in taken)


def process_stream(
    estimator: PoseEstimator,
    sources: list[Source],
    files: Sequence[Path],
    *,
    sinks: Sequence[Sink] = (),
    progress: Progress = lambda done, total: None,
    watch: Watch | None = None,
    **options: Any,
) -> Summary:
    """Run a PoseStream into an .mp4 and a .jsonl for each source, or into nothing but ``sinks``.

    sources: from `open_sources`. files: their paths without suffix, one for each source, or none
    at all. options: track, smooth, detect_every and drawing of PoseStream. Ctrl-C ends the work
    and keeps both files. Raises InputError if a file cannot be written: at once, or at the end if a
    source is live.
    """
    own: list[Sink] = []
    try:
        if files:
            own.append(JsonLinesSink(*(f"{file}.jsonl" for file in files)))
            own.append(VideoSink(*(f"{file}.mp4" for file in files)))
        stream = PoseStream(sources, estimator, sinks=[*own, *sinks], **options)
    except InputError:
        for sink in (*own, *sinks):
            sink.close()
        raise
    stream.stop_on_sink_error = not any(source.live for source in stream.sources)
    summary, start = Summary(), time.perf_counter()
    ids: set[tuple[int | None, int]] = set()
    with stream, summary.until_interrupted():
        for result in stream.results():
            poses = result.poses
            summary.frames += 1
            if poses.ids is None:
                summary.people += len(poses)
            else:
                ids.update((poses.source, number) for number in poses.ids.tolist())
            progress(summary.frames, stream.sources[0].total)
            if watch and not watch(result):
                break
    summary.people += len(ids)
    summary.seconds = time.perf_counter() - start
    summary.stages_ms.update(stream.stages_ms)
    summary.sources = stream.stats
    summary.failed = sum(source.error is not None for source in summary.sources)
    summary.outputs = [path for sink in own for path in sink.paths]
    if stream.sink_errors:
        raise stream.sink_errors[0]
    return summary


def run_demo(
    estimator: PoseEstimator,
    output: Path,
    *,
    progress: Progress = lambda done, total: None,
    sheet_frames: int = 9,
) -> Summary:
    """Annotate the sample clip into ``output``: demo.mp4, demo.jsonl and demo.png."""
    sheet: list[Frame] = []
    captions: list[str] = []
    with VideoReader(SAMPLE_CLIP) as video:
        every = max((video.frames or 1) // sheet_frames, 1)

    def watch(result: Result) -> bool:
        index = result.poses.frame_index or 0
        if index % every == every // 2 and len(sheet) < sheet_frames:
            sheet.append(result.annotated())
            people = len(result.poses)
            captions.append(f"frame {index}: {people} {'person' if people == 1 else 'people'}")
        return True

    summary = process_stream(
        estimator, open_sources(SAMPLE_CLIP), [output / "demo"], progress=progress, watch=watch
    )
    if sheet:  # Ctrl-C may have come before the first frame
        path = output / "demo.png"
        write_image(path, contact_sheet(sheet, SHEET_COLUMNS, CELL, captions))
        summary.outputs.append(path)
    return summary
