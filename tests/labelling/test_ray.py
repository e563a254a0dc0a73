"""Labelling on a Ray cluster of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("ray")
pytest.importorskip("torch")

import ray

from pcr_rt.errors import InputError
from pcr_rt.labelling.images import label_frames
from pcr_rt.labelling.ray import label_on_ray

COUNT, FATAL = 70, 33


def make_teacher(marker: Path | None = None) -> Any:
    """An estimator's stand-in, whose process is killed at image FATAL until the marker exists."""
    import os
    import signal
    from types import SimpleNamespace

    from pcr_rt.poses import Poses
    from pcr_rt.skeleton import COCO17

    class Teacher:
        spec = SimpleNamespace(skeleton=COCO17)

        def __call__(self, frame: Any) -> Any:
            grey = int(frame.mean())
            if marker is not None and grey == FATAL and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return Poses(
                keypoints=np.full((1, 17, 2), grey, np.float32),
                keypoint_scores=np.linspace(0, 1, 17, dtype=np.float32)[None],
                boxes=np.array([[1, 2, 11, 22]], np.float32),
                scores=np.array([0.5], np.float32),
                image_size=(frame.shape[1], frame.shape[0]),
            )

    return Teacher()


def in_a_worker(marker: Path | None) -> Any:
    # Ray's workers cannot import this file, so the function travels to them by value.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return lambda: make_teacher(marker)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(COUNT):
        cv2.imwrite(str(folder / f"{i:03d}.png"), np.full((30, 20, 3), i, np.uint8))
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(tmp_path: Path, images: Path) -> None:
    """A single process is killed, a cluster goes on, and loses a worker: the result is the same."""
    options: dict[str, Any] = {"min_score": 0.5, "provenance": {"models": ["x"]}}
    counts = label_frames(make_teacher(), images, tmp_path / "one.json", **options)
    assert (counts.images, counts.people, counts.broken) == (COUNT, COUNT, 1)
    lines = (tmp_path / "one.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "ray.jsonl").write_bytes(b"".join(lines[:21]) + lines[21][:9])

    marker = tmp_path / "killed-once"
    seen: list[tuple[int, int | None]] = []
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    try:
        ours = label_on_ray(
            in_a_worker(marker),
            images,
            tmp_path / "ray.json",
            progress=lambda done, total: seen.append((done, total)),
            **options,
        )
    finally:
        ray.shutdown()
    assert marker.exists()
    assert ours == counts
    assert seen[0] == (20, COUNT + 1)
    assert seen[-1] == (COUNT + 1, COUNT + 1)
    assert (tmp_path / "ray.json").read_text() == (tmp_path / "one.json").read_text()
    entries = [json.loads(line) for line in (tmp_path / "ray.jsonl").open()][1:]
    assert len({entry["file_name"] for entry in entries}) == len(entries) == COUNT + 1


def test_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --engine ray out"):
        label_on_ray(lambda: make_teacher(), tmp_path / "clip.mp4", tmp_path / "out.json")


@pytest.mark.slow
def test_the_command_line_labels_the_same_on_ray(tmp_path: Path, sample_image: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    small = cv2.resize(cv2.imread(str(sample_image)), None, fx=0.4, fy=0.4)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.jpg"), small[:, i * 8 :])
    command = [sys.executable, "-c", "from pcr_rt.cli import main; main()", "label", str(folder)]
    for engine in ("local", "ray"):
        output = str(tmp_path / f"{engine}.json")
        done = subprocess.run(
            [*command, output, "--min-score", "0.5", "--engine", engine],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    ours, single = (json.loads((tmp_path / f"{e}.json").read_text()) for e in ("ray", "local"))
    assert ours == single
    assert len(ours["annotations"]) > 0
