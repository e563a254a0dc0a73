"""Every example runs on the first frames of the sample clip."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pcr_rt.media import VideoReader, VideoWriter

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pcr_rt.annotate import SAMPLE_CLIP

    path = tmp_path_factory.mktemp("clips") / "walk.mp4"
    with VideoReader(SAMPLE_CLIP) as video, VideoWriter(path, video.size, video.fps) as writer:
        for (frame, _), _ in zip(video, range(6), strict=False):
            writer.write(frame)
    return path


def run(name: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_webcam(short_clip: Path) -> None:
    text = run("webcam", short_clip)
    assert "Open http://127.0.0.1:" in text
    assert text.count("people") == 6


@pytest.mark.slow
def test_rtsp_to_json(short_clip: Path, tmp_path: Path) -> None:
    assert "shown=6" in run("rtsp_to_json", short_clip, tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame_index"] for line in lines] == list(range(6))


@pytest.mark.slow
def test_two_cameras(short_clip: Path) -> None:
    text = run("two_cameras", short_clip, short_clip)
    assert text.count("source 0") == text.count("source 1") == 6


@pytest.mark.slow
def test_count_squats(short_clip: Path) -> None:
    assert run("count_squats", short_clip).strip() == "0 squats"  # somebody walks


@pytest.mark.slow
def test_own_boxes(short_clip: Path) -> None:
    assert run("own_boxes", short_clip).count("frame ") == 6


def test_squats_are_counted_from_the_knees() -> None:
    spec = importlib.util.spec_from_file_location("count_squats", EXAMPLES / "count_squats.py")
    assert spec is not None
    assert spec.loader is not None
    squats = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(squats)

    def legs(angle: float) -> np.ndarray:
        """Make legs: thighs up, shins turned by the knee's angle."""
        keypoints = np.zeros((17, 2))
        for hip, knee, ankle in squats.LEGS:
            keypoints[hip], keypoints[knee] = (100, 50), (100, 100)
            keypoints[ankle] = (
                100 + 60 * np.sin(np.radians(angle)),
                100 - 60 * np.cos(np.radians(angle)),
            )
        return keypoints

    seen = np.ones(17)
    assert squats.knee_angle(legs(90), seen) == pytest.approx(90)
    assert squats.knee_angle(legs(170), seen) == pytest.approx(170)
    assert squats.knee_angle(legs(90), np.zeros(17)) is None
    counter = squats.SquatCounter()
    for angle in [170, 120, 80, 95, 140, 160, 175, 120, 170, 60, None, 170]:
        counter.update(angle)
    assert counter.count == 2
