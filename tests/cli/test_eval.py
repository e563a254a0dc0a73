"""`pcr-rt eval` against pycocotools, and against the published AP of a foreign model."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

pytest.importorskip("onnx")

from pcr_rt import PoseEstimator
from toys import blob_frame, save

FIGURES = ["ap", "ap50", "ap75", "ap_medium", "ap_large"]
FIGURES += ["ar", "ar50", "ar75", "ar_medium", "ar_large"]
BOX = [60, 40, 120, 120]  # xyxy
# How far each person's labels lie from what the model finds, in pixels: APs between 0 and 1.
OFFSETS = [0.0, 4.0, 8.0, 16.0, 60.0]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """An image of one blob each; the labels are that blob's centre, more and more displaced."""
    images, people = [], []
    for number, offset in enumerate(OFFSETS, 1):
        x, y = 78.0 + 4 * number, 80.0
        save(tmp_path / f"{number}.png", blob_frame((200, 160), (x, y)))
        images.append({"id": number, "file_name": f"{number}.png", "width": 200, "height": 160})
        width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
        people.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [*BOX[:2], width, height],
                "area": 0.5 * width * height,
                "num_keypoints": 17,
                "keypoints": [x + offset, y, 2] * 17,
            }
        )
    path = tmp_path / "labels.json"
    categories = [{"id": 1, "name": "person"}]
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": categories}))
    return path


def official(labels: Path, results: list[dict[str, Any]]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(labels))
        run = COCOeval(truth, truth.loadRes(results), "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


def figures(answer: dict[str, Any]) -> list[float]:
    return [answer[name] for name in FIGURES]


def test_ground_truth_boxes(cli: Any, toy: Path, labelled: Path, tmp_path: Path) -> None:
    """AP is pycocotools' on keypoints that PoseEstimator gives for the labelled boxes."""
    file = tmp_path / "results.json"
    answer = cli("eval", labelled, tmp_path, "-m", toy, "--json", "--results", file)
    assert (answer.code, answer.err) == (0, "")
    results = []
    with PoseEstimator(toy, detector=None, score_threshold=0, nms=None) as estimator:
        for number in range(1, len(OFFSETS) + 1):
            poses = estimator(cv2.imread(str(tmp_path / f"{number}.png")), boxes=[BOX])
            results += poses.to_coco(number)
    assert json.loads(file.read_text()) == results
    expected = official(labelled, results)
    assert 0.2 < expected[0] < 0.8
    assert figures(answer.json) == pytest.approx(expected, abs=1e-6)
    assert (answer.json["people"], answer.json["results"]) == (len(OFFSETS), len(OFFSETS))


def test_table(cli: Any, toy: Path, labelled: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    answer = cli("eval", labelled, tmp_path, "-m", toy, "--results", file)
    assert answer.code == 0
    expected = official(labelled, json.loads(file.read_text()))
    shown = [word for word in answer.out.replace("│", " ").split() if "." in word]
    assert [f"{expected[i]:.3f}" for i in (0, 1, 2, 3, 4, 5)] == shown[-6:]
    assert answer.out.endswith("5 labelled people, 5 results\n")


def test_detector_boxes(cli: Any, toy: Path, labelled: Path, tmp_path: Path) -> None:
    """The 20 best people of each image, as the estimator with its detector finds them."""
    file = tmp_path / "results.json"
    options = ("--boxes", "detector", "--detector", "rtmdet-nano", "--results", file)
    answer = cli("eval", labelled, tmp_path, "-m", toy, "--json", *options)
    results = []
    published = {"box_threshold": 0.02, "score_threshold": 0.0, "oks_threshold": 0.9}
    with PoseEstimator(toy, **published) as estimator:
        for number in range(1, len(OFFSETS) + 1):
            found = estimator(cv2.imread(str(tmp_path / f"{number}.png"))).to_coco(number)
            results += sorted(found, key=lambda result: -result["score"])[:20]
    assert results  # of low scores, since a blob is hardly a person
    assert json.loads(file.read_text()) == results
    assert figures(answer.json) == pytest.approx(official(labelled, results), abs=1e-6)


def test_the_whole_frame_as_the_box(cli: Any, toy: Path, labelled: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    options = ("--boxes", "detector", "--detector", "none", "--results", file)
    assert cli("eval", labelled, tmp_path, "-m", toy, *options).code == 0
    with PoseEstimator(toy, detector=None, score_threshold=0.0) as estimator:
        expected = estimator(cv2.imread(str(tmp_path / "1.png"))).to_coco(1)
    assert [r for r in json.loads(file.read_text()) if r["image_id"] == 1] == expected
    assert len(expected) == 1


def test_options_change_the_result(cli: Any, toy: Path, labelled: Path, tmp_path: Path) -> None:
    def keypoints(*options: str) -> Any:
        file = tmp_path / "results.json"
        assert cli("eval", labelled, tmp_path, "-m", toy, "--results", file, *options).code == 0
        return np.array([result["keypoints"] for result in json.loads(file.read_text())])

    plain = keypoints()
    assert np.abs(keypoints("--decode", "none") - plain).max() > 0.3
    mirrored = keypoints("--flip-test").reshape(-1, 17, 3)[..., 2]
    np.testing.assert_allclose(mirrored[:, 1], mirrored[:, 2])  # left and right eye
    assert (plain.reshape(-1, 17, 3)[:, 1, 2] < plain.reshape(-1, 17, 3)[:, 2, 2]).all()


@pytest.mark.shared
@pytest.mark.slow
def test_pp_tinypose_has_its_ap(cli: Any, shared: Path) -> None:
    """0.673 is what the makers of the data folder measured with a runner of their own."""
    model = shared / "models" / "tinypose_256x192.onnx"
    labels, images = shared / "data" / "coco_val.json", shared / "data" / "coco_val"
    answer = cli("eval", labels, images, "-m", model, "--json")
    assert answer.json["people"] == answer.json["results"] == 408
    assert answer.json["ap"] == pytest.approx(0.673, abs=0.003)
