"""`pcr-rt demo` on the first frames of the sample clip, with the shipped models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pcr_rt import PoseEstimator, PoseStream, annotate
from pcr_rt.media import VideoReader, VideoWriter

FRAMES = 9
FIRST, EVERY = 60, 3


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, sample_clip: Path) -> Path:
    """Nine frames of the sample clip, a tenth of a second apart: two people are in view."""
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    with VideoReader(sample_clip) as clip, VideoWriter(path, clip.size, 10) as writer:
        for index, (frame, _) in enumerate(clip):
            if index in range(FIRST, FIRST + EVERY * FRAMES, EVERY):
                writer.write(frame)
    return path


@pytest.fixture
def frames(short: Path) -> list[Any]:
    with av.open(str(short)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.fixture
def result(
    cli: Any, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], Path]:
    monkeypatch.setattr(annotate, "SAMPLE_CLIP", short)
    answer = cli("demo", "--output", tmp_path / "out", "--json")
    assert (answer.code, answer.err) == (0, "")
    return answer.json, tmp_path / "out"


def test_video_lines_and_sheet(
    result: tuple[dict[str, Any], Path], frames: list[Any], short: Path
) -> None:
    summary, folder = result
    assert {path.name for path in folder.iterdir()} == {
        "demo.jsonl",
        "demo.mp4",
        "demo.png",
    }
    assert set(summary["outputs"]) == {str(path) for path in folder.iterdir()}
    assert summary["frames"] == FRAMES

    lines = [json.loads(line) for line in (folder / "demo.jsonl").read_text().splitlines()]
    assert [line["frame_index"] for line in lines] == list(range(FRAMES))
    with PoseEstimator() as estimator:
        expected = [poses for _, poses in PoseStream(short, estimator)]
    assert [line["people"] for line in lines] == [poses.to_dict()["people"] for poses in expected]
    ids = {person["id"] for line in lines for person in line["people"]}
    assert summary["people"] == len(ids) > 0

    with av.open(str(folder / "demo.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        drawn = [frame.to_ndarray(format="bgr24") for frame in container.decode(stream)]
    assert len(drawn) == FRAMES
    for poses, plain, image in zip(expected, frames, drawn, strict=True):
        x, y = poses.keypoints[poses.keypoint_scores > 0.6].round().astype(int).T
        change = np.abs(image.astype(int) - plain).max(2)
        assert np.median(change[y, x]) > 4 * np.median(change) + 10

    sheet = cv2.imread(str(folder / "demo.png"))
    height, width = sheet.shape[:2]
    assert width >= 3 * 480
    assert height >= 3 * 270
    for row in range(3):
        for column in range(3):
            cell = sheet[row * height // 3 :, column * width // 3 :][: height // 3, : width // 3]
            assert cell.std() > 20  # an image, not an empty cell


def test_text_names_model_people_and_stages(
    cli: Any, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotate, "SAMPLE_CLIP", short)
    answer = cli("demo", "--output", tmp_path / "out", "--model", "pcr-lite")
    assert answer.code == 0
    found, stages, *paths = answer.out.splitlines()
    assert found.startswith(f"pcr-lite: {FRAMES} frames, ")
    assert "frames a second" in found
    assert all(f"{stage} " in stages for stage in ("read", "detect", "infer", "draw", "write"))
    assert {Path(path).name for path in paths} == {"demo.jsonl", "demo.mp4", "demo.png"}
