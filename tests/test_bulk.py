"""Whole folders: every file once, over any number of runs, on one machine or a cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import toy_streams
from drawn_frames import write_clip
from pcr_rt.bulk import find_jobs, process_folder, process_folder_on_ray
from pcr_rt.errors import InputError
from toy_streams import ToyEstimator

ABOUT = {"options": ["toy"]}


def make_folder(folder: Path) -> Path:
    """Three images and two videos on three levels, of which one image and one video are broken."""
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("2.png", "10.png", "deep/2.jpg"):
        cv2.imwrite(str(folder / name), np.full((48, 64, 3), 90, np.uint8))
    write_clip(folder / "deep" / "2.mp4")
    shutil.copy(folder / "deep" / "2.mp4", folder / "deep" / "er" / "clip.mkv")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "deep" / "broken.mp4").write_bytes(b"no video")
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".pcr-rt" not in path.parts
    }


RESULTS = {
    "poses.jsonl",
    "2-poses.png",
    "10-poses.png",
    "deep/poses.jsonl",
    "deep/2-poses.jpg",
    "deep/2-poses.mp4",
    "deep/2-poses.jsonl",
    "deep/er/clip-poses.mp4",
    "deep/er/clip-poses.jsonl",
}


def run(folder: Path, output: Path, estimator: Any = None, **options: Any) -> Any:
    return process_folder(estimator or Toy(), folder, output, about=ABOUT, **options)


def test_each_file_has_a_result_of_its_own_and_failures_stop_nothing(tmp_path: Path) -> None:
    folder, seen = make_folder(tmp_path / "in"), []
    summary = run(folder, tmp_path / "out", progress=lambda *at: seen.append(at))
    assert set(contents(tmp_path / "out")) == RESULTS
    assert (summary.frames, summary.failed, summary.skipped) == (3 + 2 * 12, 2, 0)
    assert set(summary.failures) == {"broken.png", "deep/broken.mp4"}
    assert seen == [(done, 7) for done in range(8)]
    lines = (tmp_path / "out" / "poses.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["2.png", "10.png"]
    lines = (tmp_path / "out" / "deep" / "2-poses.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame_index"] for line in lines] == list(range(12))


class Toy(ToyEstimator):
    def __call__(self, frame: Any) -> Any:
        return self.batch([frame])[0]


class Fatal(Toy):
    """As Ctrl-C at the n-th call."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def __call__(self, frame: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__call__(frame)


def test_a_stopped_run_goes_on_and_finished_files_are_skipped(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in")
    run(folder, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "out", Fatal(1))
    assert set(contents(tmp_path / "out")) == {"2-poses.png", "poses.jsonl"}
    assert run(folder, tmp_path / "out").skipped == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")

    again = run(folder, tmp_path / "out", Fatal(0))
    assert (again.skipped, again.frames, again.failed) == (5, 27, 2)
    # What is missing, new or changed is done; other options begin anew.
    (tmp_path / "out" / "10-poses.png").unlink()
    cv2.imwrite(str(folder / "deep" / "2.jpg"), np.full((30, 40, 3), 9, np.uint8))
    cv2.imwrite(str(folder / "broken.png"), np.full((30, 40, 3), 9, np.uint8))
    assert run(folder, tmp_path / "out").skipped == 3
    other = process_folder(Toy(), folder, tmp_path / "out", about={"options": ["x"]})
    assert (other.skipped, other.failed) == (0, 1)


def test_names_are_unique_short_enough_and_never_those_of_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "a.mpo", "a-poses.png", "a.png", "x" * 245 + ".png", "ä" * 120 + ".png"):
        (folder / name).touch()
    for name in ("a.mp4", "a.mkv"):
        write_clip(folder / name)
    jobs = find_jobs(folder, folder)
    targets = [job.target.name for job in jobs]
    assert len(set(targets)) == len(jobs) == 8
    assert "a-poses.png" not in targets
    assert {"a-poses.jpg", "a-poses-1.jpg", "a-poses.mp4", "a-poses-1.mp4"} <= set(targets)
    assert max(len(os.fsencode(name)) for name in targets) <= 240
    for job in jobs:
        job.target.touch()


def test_results_inside_the_folder_are_no_inputs(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in")
    for _ in range(2):
        assert run(folder, folder / "out").frames == 27
    with pytest.raises(InputError, match="has no images or videos"):
        (tmp_path / "empty").mkdir()
        run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match=r"None of the 2 files can be read; the first: .*broken"):
        (tmp_path / "bad").mkdir()
        for name in ("broken.png", "broken.mp4"):
            (tmp_path / "bad" / name).write_bytes(b"nothing")
        run(tmp_path / "bad", tmp_path / "out2")


def test_a_damaged_journal_is_begun_anew(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in")
    run(folder, tmp_path / "out")
    journal = tmp_path / "out" / ".pcr-rt" / "run.jsonl"
    for content in (b"", b"{", b"[1]\n", journal.read_bytes()[:-20]):
        journal.write_bytes(content)
        assert run(folder, tmp_path / "out").frames == 27
    assert run(folder, tmp_path / "out").skipped == 5


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_writes_equal_files(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    folder, marker = make_folder(tmp_path / "in"), tmp_path / "killed-once"
    run(folder, tmp_path / "one")
    # Ray's workers cannot import these, so they travel by value.
    for module in (sys.modules[__name__], toy_streams):
        ray.cloudpickle.register_pickle_by_value(module)

    class Mortal(Toy):
        """Its process is killed in the middle of the first video."""

        def batch(self, frames: Any, boxes: Any = None) -> Any:
            self.calls = getattr(self, "calls", 0) + len(frames)
            if self.calls == 6 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(frames, boxes)

    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    try:
        summary = process_folder_on_ray(Mortal, folder, tmp_path / "ray", about=ABOUT)
    finally:
        ray.shutdown()
    assert marker.exists()
    assert (summary.frames, summary.failed) == (27, 2)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")
