"""Count the project's files, and the changes from file to file, of a streamed frame and a step.

    python benchmarks/file_trips.py --output benchmarks/results/file_trips.json --name after

The frame is one of the sample clip in a PoseStream with tracking and smoothing, warm; the step is
one of the tests' toy recipe. A change is a call that leads from one of the project's files into
another (each has its return, which is not counted); what lies between them, NumPy or the standard
library, does not count. The next frame is read only after the last one has
come out and every thread waits, so that each call belongs to one frame. Both numbers are given as
the least and the most of several frames or steps; ``--name`` says under which key of the file they
go, others are kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any

from common import machine, write_json

import pcr_rt
from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.streaming.open import open_source
from pcr_rt.streaming.sources import Item, Source

ROOT = Path(pcr_rt.__file__).resolve().parent.parent
PACKAGES = tuple(str(ROOT / name) + "/" for name in ("pcr_rt", "cuda_kernels", "export"))
SETTLE_S = 0.1
"""How long threads get to come to rest after a frame."""


class Trips:
    """What the profile function saw since `take`: files and changes, of all threads."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._changes: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function for `sys.setprofile`."""
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(PACKAGES):
            return
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(PACKAGES):
            caller = caller.f_back
        with self._lock:
            self._files.add(name)
            if caller is not None and caller.f_code.co_filename != name:
                self._changes[caller.f_code.co_filename, name] += 1

    def take(self) -> tuple[set[str], int]:
        """Files and changes since the last call."""
        with self._lock:
            seen = self._files, self._changes.total()
            self._files, self._changes = set(), Counter()
        return seen


class OneByOne(Source):
    """A source that reads its next frame when it is told to."""

    def __init__(self, source: Source) -> None:
        self._source, self.name, self.fps = source, source.name, source.fps
        self.next = threading.Semaphore(0)

    def frames(self) -> Iterator[Item]:
        items = self._source.frames()
        while self.next.acquire() and (item := next(iter(items), None)) is not None:
            yield item


def of_frames(count: int, warm: int) -> list[tuple[set[str], int]]:
    """Files and changes of ``count`` frames after ``warm`` others."""
    clip = files("pcr_rt") / "samples" / "walk.mp4"
    trips, found = Trips(), []
    with PoseEstimator(device="cpu") as estimator, profiled(trips):
        source = OneByOne(open_source(str(clip)))
        results = iter(PoseStream(source, estimator))
        for _ in range(warm + count):
            source.next.release()
            _, poses = next(results)
            assert len(poses)
            time.sleep(SETTLE_S)
            found.append(trips.take())
        source.next.release()
        results.close()  # type: ignore[attr-defined]
    return found[warm:]


def of_steps() -> list[tuple[set[str], int]]:
    """Files and changes of the toy recipe's steps that write no checkpoint, the first left out."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from drawn_people import draw_people
    from pcr_rt.training.recipe import load_recipe
    from pcr_rt.training.trainer import Trainer

    trips = Trips()
    found: dict[int, tuple[set[str], int]] = {}

    def progress(done: int, total: int, loss: float) -> None:
        found[done] = trips.take()

    with tempfile.TemporaryDirectory() as name:
        folder = draw_people(Path(name))
        path = folder / "recipe.toml"
        path.write_text(path.read_text().replace("epochs = 2", "epochs = 10"))
        recipe = load_recipe(path)
        trainer = Trainer(recipe, folder, folder / "run")
        with profiled(trips):
            trainer.run(progress)
        every, first = recipe.validation.every, trainer.lengths()[0]
    # What follows `progress`, a checkpoint among it, counts to the step after it.
    return [found[n] for n in range(3, first) if (n - 1) % every]


class profiled:
    """Within it, all threads that start call ``trips``, and so does this one."""

    def __init__(self, trips: Trips) -> None:
        self._trips = trips

    def __enter__(self) -> None:
        threading.setprofile(self._trips)
        sys.setprofile(self._trips)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def summary(found: list[tuple[set[str], int]]) -> dict[str, Any]:
    """Least and most of both numbers, and the names of all files."""
    names = set(itertools.chain.from_iterable(f for f, _ in found))
    counts, changes = [len(f) for f, _ in found], [c for _, c in found]
    return {
        "measured": len(found),
        "files": [min(counts), max(counts)],
        "changes": [min(changes), max(changes)],
        "names": sorted(str(Path(n).relative_to(ROOT)) for n in names),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--name", default="now")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    result = {"frame": summary(of_frames(options.frames, warm=10)), "step": summary(of_steps())}
    print(json.dumps(result, indent=2))
    if options.output:
        known = json.loads(options.output.read_text()) if options.output.exists() else {}
        write_json(options.output, {**known, "machine": machine(), options.name: result})


if __name__ == "__main__":
    main()
