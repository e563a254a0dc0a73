"""`pcr-rt calibrate` on blobs, of which a known share lies where their labels are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.models import ModelSpec, shipped_models
from toys import PLAIN, blob_frame, brightness_model, save


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """110 images of a blob; labels of every tenth are far from it, of darker blobs more often."""
    (tmp_path / "images").mkdir()
    images, people = [], []
    for number in range(110):
        brightness = 0.4 + 0.6 * (number % 11) / 10
        frame = (blob_frame((100, 100), (50.0, 50.0)) * brightness).astype(np.uint8)
        save(tmp_path / "images" / f"{number}.png", frame)
        x = 250.0 if number % 11 < 2 or number % 10 == 0 else 50.0
        images.append({"id": number, "file_name": f"{number}.png", "width": 100, "height": 100})
        people.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [0, 0, 100, 100],
                "area": 5000,
                "keypoints": [x, 50.0, 2] * 17,
            }
        )
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": people}))
    return path


def test_calibrated_model_is_written(cli: Any, toy: Path, labelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "calibrated.onnx"
    words = ("calibrate", toy, labelled, tmp_path / "images", "--detector", "none")
    answer = cli(*words, "-o", output, "--json")
    assert (answer.code, answer.err) == (0, "")
    report = answer.json
    right = sum(n % 11 >= 2 and n % 10 != 0 for n in range(110))
    assert report["people"]["count"] == 110
    assert report["people"]["right"] == pytest.approx(right / 110, abs=1e-4)
    assert report["keypoints"]["count"] == 17 * right
    assert report["keypoints"]["right"] == 1
    error = "expected_calibration_error"
    assert report["people"]["calibrated"][error] < report["people"]["raw"][error]
    before, after = (OnnxRuntimeEngine(f, device="cpu").spec for f in (toy, output))
    assert before.calibration is None
    assert after.calibration is not None
    assert dataclasses.asdict(after.calibration) == {
        name: tuple(map(tuple, knots)) for name, knots in report["calibration"].items()
    }
    assert dataclasses.replace(after, calibration=None) == before
    # Whether it has a calibration already makes no difference.
    again = cli("calibrate", output, *words[2:], "--json")
    assert again.json == report
    text = cli(*words).out
    assert text.startswith(f"{17 * right} keypoints, 100.0% of them right: calibration error ")


def test_bad_input_is_refused(cli: Any, toy: Path, labelled: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"

    def error(*arguments: Any) -> str:
        answer = cli("calibrate", *arguments, "--detector", "none")
        assert answer.code == 2
        assert answer.err.count("\n") == 1
        return str(answer.err)

    assert "overwritten" in error(toy, labelled, images, "-o", toy)
    assert ".onnx" in error(toy, labelled, images, "-o", tmp_path / "model.bin")
    assert "detector" in error("rtmdet-nano", labelled, images)
    assert "does not exist" in error(toy, tmp_path / "none.json", images)
    table = json.loads(labelled.read_text())
    few = {**table, "annotations": table["annotations"][:5]}
    (tmp_path / "few.json").write_text(json.dumps(few))
    assert "too few to calibrate" in error(toy, tmp_path / "few.json", images)
    for image in table["images"]:
        image["boxes_complete"] = False
    (tmp_path / "incomplete.json").write_text(json.dumps(table))
    assert "all labelled" in error(toy, tmp_path / "incomplete.json", images)
    assert not (tmp_path / "model.bin").exists()


def test_models_without_sense_are_refused(cli: Any, labelled: Path, tmp_path: Path) -> None:
    dark = ModelSpec("dark", "heatmap", (48, 64), **PLAIN)
    table = json.loads(labelled.read_text())
    for person in table["annotations"]:  # the darker the surer
        far = person["image_id"] % 11 > 5
        person["keypoints"] = [250.0 if far else 50.0, 50.0, 2] * 17
    (tmp_path / "turned.json").write_text(json.dumps(table))
    answer = cli(
        *("calibrate", brightness_model(tmp_path / "dark.onnx", dark), tmp_path / "turned.json"),
        *(tmp_path / "images", "--detector", "none"),
    )
    assert answer.code == 2
    assert "not right more often" in answer.err


@pytest.mark.parametrize("name", [n for n in shipped_models() if n != "rtmdet-nano"])
def test_shipped_pose_models_are_calibrated_alike_in_every_precision(name: str) -> None:
    folder = Path(OnnxRuntimeEngine(name, device="cpu")._path).parent
    found = {
        OnnxRuntimeEngine(file, device="cpu").spec.calibration
        for file in folder.glob(f"{name}*.onnx")
    }
    assert len(found) == 1
    assert None not in found
