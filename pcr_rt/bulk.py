"""Annotate whole folders: every image and video below them, each once, over any number of runs.

A hidden journal in the output folder keeps what is finished, so a killed run goes on. Files that
fail are named and counted and do not stop the others.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcr_rt.annotate import Progress, Summary, free_name, process_stream
from pcr_rt.drawing import DrawOptions
from pcr_rt.errors import InputError, PoseError
from pcr_rt.files import make_folder, write_whole
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.labelling.journal import Journal
from pcr_rt.labelling.ray import spread
from pcr_rt.media import is_image, is_video, read_image, write_image
from pcr_rt.media.images import in_order
from pcr_rt.streaming.open import SourceOptions, open_source

__all__ = ["find_jobs", "process_folder", "process_folder_on_ray"]

log = logging.getLogger(__name__)

JOURNAL = Path(".pcr-rt") / "run.jsonl"

Entry = dict[str, Any]
Work = Callable[[list["Job"]], Iterator[tuple["Job", "Entry | str"]]]
"""Does jobs in any order: what a job found, or why it failed."""


@dataclass(frozen=True)
class Job:
    """A file and where its result goes; name: relative to the folder that was given."""

    path: Path
    name: str
    target: Path
    stamp: tuple[int, int]
    """Size and time of change (ns): another file of the same name is not finished."""


@dataclass(frozen=True)
class Task:
    """What is done with each file; it travels to the workers of a cluster."""

    asked: SourceOptions = field(default_factory=lambda: SourceOptions())
    options: Mapping[str, Any] = field(default_factory=dict)
    drawing: DrawOptions = field(default_factory=lambda: DrawOptions())

    def __call__(self, estimator: PoseEstimator, job: Job) -> Entry | str:
        """What a job found, ready for JSON, or the sentence that says why it failed."""
        try:
            make_folder(job.target.parent)
            if is_video(job.path):
                return self._video(estimator, job)
            return self._image(estimator, job)
        except PoseError as error:
            return " ".join(str(error).split())

    def _video(self, estimator: PoseEstimator, job: Job) -> Entry:
        source = open_source(job.path, **self.asked)
        files = job.target.with_suffix("")
        summary = process_stream(estimator, [source], [files], drawing=self.drawing, **self.options)
        if summary.interrupted:
            raise KeyboardInterrupt
        outputs = [path.name for path in summary.outputs]
        return {"frames": summary.frames, "people": summary.people, "outputs": outputs}

    def _image(self, estimator: PoseEstimator, job: Job) -> Entry:
        frame = read_image(job.path)
        poses = estimator(frame)
        write_image(job.target, poses.draw(frame, **self.drawing))
        line = {"file": job.path.name, **poses.to_dict()}
        return {"frames": 1, "people": len(poses), "outputs": [job.target.name], "line": line}


def find_jobs(folder: Path, output: Path) -> list[Job]:
    """Find the images and videos below a folder, in order, and name their results.

    What is hidden or lies in ``output`` is left out, and what is neither is counted in a warning.
    Of results that would get one name the second is called ``name-poses-1`` and so on. Raises
    InputError if there is nothing to do.
    """
    found, others = [], 0
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [f for f in folders if not f.startswith(".") and not _same(here / f, output)]
        for name in names:
            if name.startswith("."):
                continue
            path = here / name
            if is_image(path) or is_video(path):
                found.append(path)
            else:
                others += 1
    if not found:
        raise InputError(f"The folder {folder} has no images or videos: put some there.")
    if others:
        log.warning(
            "%s: %d images and videos; left out: %d other files", folder, len(found), others
        )
    found = in_order(found)
    taken = {path.resolve() for path in found}
    jobs = []
    for path in found:
        inner = path.relative_to(folder)
        target = free_name((output / inner).parent, path, taken)
        taken.add(target.resolve())
        about = path.stat()
        jobs.append(Job(path, inner.as_posix(), target, (about.st_size, about.st_mtime_ns)))
    return jobs


def _same(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)


def process_folder(
    estimator: PoseEstimator,
    folder: Path,
    output: Path,
    *,
    about: Mapping[str, Any],
    asked: SourceOptions | None = None,
    drawing: DrawOptions | None = None,
    progress: Progress = lambda done, total: None,
    **options: Any,
) -> Summary:
    """Annotate everything below a folder into ``output``, in the same sub-folders.

    Images become ``name-poses.jpg`` and a line of their folder's ``poses.jsonl``, videos
    ``name-poses.mp4`` and ``name-poses.jsonl``. What an earlier run with the same ``about`` (the
    options that matter) finished is skipped. asked: of each video, as for `open_source`. drawing:
    options of `Poses.draw`. options: as for `process_stream`. progress: of files. Raises InputError
    if every file fails or the output cannot be written.
    """
    task = Task(asked or SourceOptions(), options, drawing or DrawOptions())
    return _process(
        lambda jobs: ((job, task(estimator, job)) for job in jobs), folder, output, about, progress
    )


def process_folder_on_ray(
    make_estimator: Callable[[], PoseEstimator],
    folder: Path,
    output: Path,
    *,
    about: Mapping[str, Any],
    gpus: bool = False,
    asked: SourceOptions | None = None,
    drawing: DrawOptions | None = None,
    progress: Progress = lambda done, total: None,
    **options: Any,
) -> Summary:
    """As `process_folder`, with a worker on each CPU (gpus: each GPU) of a Ray cluster.

    A file is one piece of work, tracking included; that of a worker that died is done again by
    another. make_estimator: called once in each worker, so it must be picklable. All nodes see
    folder and output under the same path. The cluster is the one that the environment variable
    ``RAY_ADDRESS`` names, else one is started on this machine. Raises MissingDependencyError
    without Ray.
    """
    task = Task(asked or SourceOptions(), options, drawing or DrawOptions())
    return _process(
        lambda jobs: _on_ray(make_estimator, task, jobs, gpus), folder, output, about, progress
    )


def _process(
    work: Work, folder: Path, output: Path, about: Mapping[str, Any], progress: Progress
) -> Summary:
    # From the root: workers of a cluster have a working directory of their own.
    jobs = find_jobs(folder.absolute(), output.absolute())
    make_folder((output / JOURNAL).parent)
    summary, start = Summary(), time.perf_counter()
    with _journal(output / JOURNAL, {**about, "folder": str(folder.resolve())}) as journal:
        done = {entry["file"]: entry for entry in journal.entries if "file" in entry}
        todo = [job for job in jobs if not _is_finished(job, done.get(job.name))]
        summary.skipped = len(jobs) - len(todo)
        new = {job.name for job in todo}
        progress(summary.skipped, len(jobs))
        try:
            for count, (job, result) in enumerate(work(todo), summary.skipped + 1):
                if isinstance(result, str):
                    log.warning("Failed: %s: %s", job.name, result)
                    summary.failures[job.name] = result
                    done.pop(job.name, None)
                else:
                    done[job.name] = {"file": job.name, "stamp": list(job.stamp), **result}
                    journal.append(done[job.name])
                progress(count, len(jobs))
        finally:
            lines = _write_lines(jobs, done, output)
    summary.seconds = time.perf_counter() - start
    finished = [(job, done[job.name]) for job in jobs if job.name in done]
    if not finished:
        raise InputError(_nothing(jobs, summary.failures))
    summary.frames = sum(entry["frames"] for _, entry in finished)
    old = [entry["frames"] for job, entry in finished if job.name not in new]
    summary.skipped_frames = sum(old)
    summary.people = sum(entry["people"] for _, entry in finished)
    summary.failed = len(summary.failures)
    outputs = [job.target.parent / name for job, entry in finished for name in entry["outputs"]]
    summary.outputs = [*lines, *outputs]
    return summary


def _nothing(jobs: list[Job], failures: Mapping[str, str]) -> str:
    first = next(iter(failures.values()))
    if len(jobs) == 1:
        return first
    kind = "files" if any(is_video(job.path) for job in jobs) else "images"
    return f"None of the {len(jobs)} {kind} can be read; the first: {first}"


def _journal(path: Path, header: Mapping[str, Any]) -> Journal:
    """Open the journal; one of other work, whose results will be written over, is begun anew."""
    try:
        whole, newline, _ = path.read_bytes().rpartition(b"\n")
        lines = [json.loads(line) for line in whole.splitlines()] if newline else [header]
        same = lines[0] == json.loads(json.dumps(header)) and all(
            isinstance(line, dict) for line in lines
        )
    except FileNotFoundError:
        same = True
    except (OSError, ValueError, RecursionError):
        same = False
    if not same:
        log.info("%s is of other work: everything is done anew", path)
        path.unlink()
    return Journal(path, header)


def _is_finished(job: Job, entry: Entry | None) -> bool:
    if entry is None or entry.get("stamp") != list(job.stamp):
        return False
    outputs = entry.get("outputs")
    return bool(outputs) and all((job.target.parent / name).is_file() for name in outputs or ())


def _write_lines(jobs: Iterable[Job], done: Mapping[str, Entry], output: Path) -> list[Path]:
    """Write each folder's ``poses.jsonl`` of its finished images, in their order."""
    lines: dict[Path, str] = {}
    for job in jobs:
        line = done.get(job.name, {}).get("line")
        if line is not None:
            path = job.target.parent / "poses.jsonl"
            lines[path] = lines.get(path, "") + json.dumps(line) + "\n"
    for path, text in lines.items():
        write_whole(path, text.encode())
    return list(lines)


def _on_ray(
    make_estimator: Callable[[], PoseEstimator], task: Task, jobs: list[Job], gpus: bool
) -> Iterator[tuple[Job, Entry | str]]:
    rows = [{"index": index} for index in range(len(jobs))]
    for row in spread(rows, _Worker, (make_estimator, task, jobs), batch=1, gpus=gpus):
        yield jobs[row["index"]], json.loads(row["result"])


class _Worker:
    """An estimator in a worker of the cluster."""

    def __init__(
        self, make_estimator: Callable[[], PoseEstimator], task: Task, jobs: list[Job]
    ) -> None:
        self.estimator, self.task, self.jobs = make_estimator(), task, jobs

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = [json.dumps(self.task(self.estimator, self.jobs[i])) for i in batch["index"]]
        return {"index": batch["index"], "result": results}
