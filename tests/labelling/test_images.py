from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from pcr_rt import PoseEstimator
from pcr_rt.errors import DataError, InputError
from pcr_rt.labelling.images import Kept, label_frame, label_frames
from pcr_rt.labelling.journal import Journal
from pcr_rt.media import VideoWriter
from pcr_rt.models import ModelSpec
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.coco import category_skeleton
from pcr_rt.training.data.pseudo_labels import read_pseudo_labels


class Teacher:
    """Stands in for an estimator: one person; the scores are the grey of the frame, in percent."""

    def __init__(self, skeleton: Skeleton = COCO17) -> None:
        self.seen: list[int] = []
        self.spec = ModelSpec("teacher", "heatmap", (48, 64), skeleton=skeleton)

    def __call__(self, frame: np.ndarray) -> Poses:
        grey = int(frame.mean().round())
        self.seen.append(grey)
        joints = len(self.spec.skeleton)
        scores = np.full((1, joints), grey / 100, np.float32)
        scores[0, :3] = 0.95
        return Poses(
            keypoints=np.full((1, joints, 2), grey, np.float32),
            keypoint_scores=scores,
            boxes=np.array([[1, 2, 11, 22]], np.float32),
            scores=np.array([0.5], np.float32),
            image_size=(frame.shape[1], frame.shape[0]),
            skeleton=self.spec.skeleton,
        )


def folder(path: Path, count: int = 4) -> Path:
    path.mkdir()
    for i in range(count):
        cv2.imwrite(str(path / f"{i}.png"), np.full((30, 20, 3), 80 + 5 * i, np.uint8))
    return path


def label(teacher: Any, source: Path, output: Path, min_score: float = 0.9, **options: Any) -> Kept:
    return label_frames(teacher, source, output, min_score=min_score, **options)


def test_only_sure_keypoints_become_labels(tmp_path: Path) -> None:
    images = folder(tmp_path / "images")
    assert label(Teacher(), images, tmp_path / "out.json", provenance={"models": ["x"]}) == (
        4,
        4,
        3 + 3 + 17 + 17,
        0,
    )
    data = json.loads((tmp_path / "out.json").read_text())
    assert [i["file_name"] for i in data["images"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(i["boxes_complete"] is False for i in data["images"])
    assert data["info"]["min_score"] == 0.9
    assert data["info"]["models"] == ["x"]
    # Scores are 0.95 for three keypoints, and 0.80, 0.85, 0.90, 0.95 for the rest.
    assert [a["num_keypoints"] for a in data["annotations"]] == [3, 3, 17, 17]
    first = data["annotations"][0]
    assert first["keypoints"] == [80, 80, 1] * 3 + [0, 0, 0] * 14
    assert first["bbox"] == [1, 2, 10, 20]
    people = read_pseudo_labels(tmp_path / "out.json", images, min_score=0.9)
    assert [int((p.weights > 0).sum()) for p in people] == [3, 3, 17, 17]


def test_a_teacher_of_other_keypoints_names_them(tmp_path: Path) -> None:
    images = folder(tmp_path / "images")
    hand = Skeleton.load("hand21")
    kept = label(Teacher(hand), images, tmp_path / "out.json")
    assert kept == (4, 4, 3 + 3 + 21 + 21, 0)
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["info"]["skeleton"] == "hand21"
    (category,) = data["categories"]
    assert (category["name"], len(category["keypoints"])) == (hand.category, 21)
    assert category["skeleton"][0] == [1, 2]  # COCO counts from 1: the wrist and the thumb's root
    assert category_skeleton(data, tmp_path / "out.json") == hand
    people = read_pseudo_labels(tmp_path / "out.json", images, min_score=0.9, skeleton=hand)
    assert [int((p.weights > 0).sum()) for p in people] == [3, 3, 21, 21]
    # The journal goes on with the same keypoints, and with no others.
    again = Teacher(hand)
    assert label(again, images, tmp_path / "out.json") == kept
    assert again.seen == []
    with pytest.raises(DataError, match="other options"):
        label(Teacher(), images, tmp_path / "out.json")


def test_nobody_sure_nobody_labelled() -> None:
    poses = Teacher()(np.full((30, 20, 3), 50, np.uint8))
    assert label_frame(poses, 0.96) == []
    assert label_frame(Poses.empty((20, 30)), 0.0) == []


def test_a_run_goes_on_after_a_cut_line_without_loss_or_doubles(tmp_path: Path) -> None:
    images = folder(tmp_path / "images")
    label(Teacher(), images, tmp_path / "whole.json")
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 4
    for length in (0, 10, len(b"".join(lines[:1])), len(b"".join(lines[:3])) + 25):
        (tmp_path / "part.jsonl").write_bytes(b"".join(lines)[:length])
        complete = b"".join(lines)[:length].count(b"\n")
        teacher = Teacher()
        label(teacher, images, tmp_path / "part.json")
        assert len(teacher.seen) == 4 - max(complete - 1, 0)
        assert (tmp_path / "part.json").read_text() == (tmp_path / "whole.json").read_text()


def test_a_line_whose_numbers_are_strings_is_done_again(tmp_path: Path) -> None:
    images = folder(tmp_path / "images", 3)
    label(Teacher(), images, tmp_path / "a.json")
    expected = (tmp_path / "a.json").read_bytes()
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    entry = json.loads(lines[1])
    entry["people"][0]["keypoints"] = [str(value) for value in entry["people"][0]["keypoints"]]
    (tmp_path / "a.jsonl").write_text("\n".join([lines[0], json.dumps(entry), *lines[2:]]) + "\n")
    label(Teacher(), images, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == expected


def test_other_options_do_not_continue_a_journal(tmp_path: Path) -> None:
    images = folder(tmp_path / "images")
    label(Teacher(), images, tmp_path / "out.json")
    with pytest.raises(DataError, match="other options"):
        label(Teacher(), images, tmp_path / "out.json", min_score=0.5)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="of other images"):
        label(Teacher(), folder(tmp_path / "b" / "images"), tmp_path / "out.json")
    with pytest.raises(InputError, match=r"a \.json file"):
        label(Teacher(), images, tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="cannot be written"):
        Journal(tmp_path / "nowhere" / "a.jsonl", {})


def test_broken_images_are_named_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = folder(tmp_path / "images")
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:40])
    with caplog.at_level(logging.WARNING):
        assert label(Teacher(), images, tmp_path / "out.json") == (3, 3, 3 + 17 + 17, 1)
    assert "1.png" in caplog.text
    data = json.loads((tmp_path / "out.json").read_text())
    assert [i["id"] for i in data["images"]] == [1, 2, 3]
    assert [a["image_id"] for a in data["annotations"]] == [1, 2, 3]
    assert label(Teacher(), images, tmp_path / "out.json") == (3, 3, 3 + 17 + 17, 1)


def test_frames_of_a_video_are_kept_as_images(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", (32, 48), 10) as video:
        for i in range(7):
            video.write(np.full((48, 32, 3), 30 + 20 * i, np.uint8))
    teacher = Teacher()
    label(teacher, tmp_path / "clip.mp4", tmp_path / "out.json", every=3)
    # Frames 0, 3 and 6; H.264 changes grey levels by a little.
    assert np.abs(np.array(teacher.seen) - [30, 90, 150]).max() <= 5
    data = json.loads((tmp_path / "out.json").read_text())
    names = [i["file_name"] for i in data["images"]]
    assert names == ["00000000.jpg", "00000003.jpg", "00000006.jpg"]
    for name, grey in zip(names, (30, 90, 150), strict=True):
        frame = cv2.imread(str(tmp_path / "out_frames" / name))
        assert abs(frame.mean() - grey) <= 5
    again = Teacher()
    label(again, tmp_path / "clip.mp4", tmp_path / "out.json", every=3)
    assert again.seen == []


@pytest.mark.slow
def test_a_killed_command_line_goes_on(tmp_path: Path, sample_image: Path) -> None:
    """SIGKILL in mid-run, the same command again: the result of an uninterrupted run."""
    images = tmp_path / "images"
    images.mkdir()
    small = cv2.resize(cv2.imread(str(sample_image)), None, fx=0.4, fy=0.4)
    for i in range(8):
        cv2.imwrite(str(images / f"{i}.jpg"), small[:, i * 8 :])
    command = [sys.executable, "-c", "from pcr_rt.cli import main; main()", "label", str(images)]
    options = ["--min-score", "0.5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, str(tmp_path / "killed.json"), *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    journal = tmp_path / "killed.jsonl"
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = journal.read_bytes().count(b"\n")
    assert 3 <= lines < 9
    assert not (tmp_path / "killed.json").exists()
    for name in ("killed", "whole"):
        subprocess.run(
            [*command, str(tmp_path / f"{name}.json"), *options],
            env=environment,
            check=True,
            capture_output=True,
        )
    killed = json.loads((tmp_path / "killed.json").read_text())
    assert killed == json.loads((tmp_path / "whole.json").read_text())
    assert len(killed["images"]) == 8
    assert len(killed["annotations"]) > 0
    assert killed["info"]["models"][0]["name"] == "pcr-tiny"


def test_the_estimator_itself_labels(tmp_path: Path, sample_image: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_bytes(sample_image.read_bytes())
    with PoseEstimator() as estimator:
        kept = label_frames(estimator, images, tmp_path / "out.json")
    assert kept.people >= 1
    # Most of the 17 keypoints of people in a street are sure enough.
    assert 8.5 * kept.people < kept.keypoints <= 17 * kept.people
    assert kept.broken == 0
