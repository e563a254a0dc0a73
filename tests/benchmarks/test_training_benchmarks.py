"""The training benchmarks run, with budgets of seconds, and report what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

import data_curve
from common import only

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script: str, *arguments: object) -> Any:
    output = Path(str(arguments[-1]))
    command = [sys.executable, str(ROOT / script), *map(str, arguments[:-1]), "--output"]
    done = subprocess.run([*command, str(output)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text())


@pytest.mark.shared
@pytest.mark.slow
def test_ablation(shared: Path, tmp_path: Path) -> None:
    budget = ["--steps", 2, "--seeds", 1, "--people", 4, "--images", 9, "--size", 64, 64]
    budget += ["--without-lsp", "--rows"]
    rows = ["none", "all, L = 3", "all, HNDM"]
    tinypose = shared / "models/tinypose_256x192.onnx"
    arguments = [shared / "data", tinypose, *budget, *rows, tmp_path / "out.json"]
    report = run("ablation.py", *arguments)
    assert list(report["rows"]) == rows
    # Without SE, HDC and AD: 3x3 40 -> 48 and 48 -> 48, 1x1 40 -> 48, three norms, the head.
    plain = 9 * 40 * 48 + 9 * 48 * 48 + 40 * 48 + 3 * 2 * 48 + 48 * 17 + 17
    assert report["rows"]["none"]["parameters"] == plain
    for row in report["rows"].values():
        assert len(row["ap"]) == len(row["false_box_peak"]) == 1
        assert 0 <= row["ap"][0] <= 1


@pytest.mark.shared
@pytest.mark.slow
def test_input_path(shared: Path, tmp_path: Path) -> None:
    files = [shared / "data/coco_train.json", shared / "data/coco_train"]
    options = ["--recipe", "pcr-tiny", "--seconds", 0.1, "--batch", 4]
    report = run("input_path.py", *files, *options, tmp_path / "out.json")
    (row,) = report["rows"]
    assert row["size"] == [192, 256]
    for key in ("reading_1", "reading_2", "preparing", "step"):
        middle, low, high = row[key]
        assert 0 < low <= middle <= high


def test_larger_parts_hold_the_smaller_ones() -> None:
    images = [{"id": i} for i in range(40)]
    people = [{"image_id": i % 40, "id": i} for i in range(100)]
    labels = {"images": images, "annotations": people, "info": "x"}
    parts = [data_curve.part_of(labels, part) for part in (0.25, 0.5, 1)]
    ids = [{image["id"] for image in part["images"]} for part in parts]
    assert list(map(len, ids)) == [10, 20, 40]
    assert ids[0] < ids[1] < ids[2]
    for part, kept in zip(parts, ids, strict=True):
        assert part["annotations"] == [p for p in people if p["image_id"] in kept]
        assert part["info"] == "x"


@pytest.mark.shared
@pytest.mark.slow
def test_data_curve(shared: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "labels").mkdir(parents=True)
    (data / "unlabelled").mkdir()
    hand = json.loads((shared / "data/coco_train.json").read_text())
    # Fewer images are held out, and some labels play those of a teacher.
    kept = [i for i in hand["images"] if i["id"] % 5][:40]
    held_out = [i for i in hand["images"] if i["id"] % 5 == 0][:12]
    for name, images in (("coco_train", kept + held_out), ("labels/unlabelled", kept)):
        (data / f"{name}.json").write_text(json.dumps(only(hand, images)))
    movenet = shared / "models/movenet_thunder_256.onnx"
    (data / movenet.name).symlink_to(movenet)
    for link in ("coco_train", "unlabelled/images"):
        (data / link).symlink_to(shared / "data/coco_train")
    budget = ["--steps", 4, "--size", 64, 64, "--runs", tmp_path / "runs", "--parts", 1, 0.5]
    report = run("data_curve.py", data, *budget, tmp_path / "out.json")
    half, whole, shorter = report["rows"]
    assert [row["part"] for row in report["rows"]] == [0.5, 1, 1]
    assert [row["steps"] for row in report["rows"]] == [4, 4, 2]
    assert 0 < half["unlabelled_people"] < whole["unlabelled_people"]
    assert half["times_seen"] > whole["times_seen"] > shorter["times_seen"]
    assert whole["difference_coco_train"] == [0, 0, 0]
    labels = json.loads((tmp_path / "runs/unlabelled-0.5.json").read_text())
    assert len(labels["images"]) == 20
