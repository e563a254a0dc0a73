"""docs/tutorials/own_labels.md, walked: labels of five keypoints of a drawn object, to a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from drawn_kites import draw_kites
from pcr_rt import PoseEstimator


@pytest.mark.slow
def test_from_labels_to_a_running_model(cli: Any, tmp_path: Path) -> None:
    data, run = draw_kites(tmp_path / "data", 60), tmp_path / "runs" / "kites"
    options = ("--labels", data / "labels.json", "--images", data / "images", "-o", run)
    answer = cli("train", "--from", "pcr-nano", *options, "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "48 images to train on, 12 held out" in answer.err
    assert "prediction heads of 17 keypoints, this network of 5: they begin anew" in answer.err
    assert cv2.imread(str(run / "curve.png")).shape == (420, 720, 3)
    model = run / "kites.onnx"
    assert f"done: pcr-rt run IMAGE --model {model} --detector none\n" in answer.out

    held_out = json.loads((run / "labels-held-out.json").read_text())
    near: list[np.ndarray] = []
    with PoseEstimator(model, detector=None, score_threshold=0, device="cpu") as estimator:
        assert estimator.spec.skeleton.category == "kite"
        for image, a in zip(held_out["images"], held_out["annotations"], strict=True):
            assert image["id"] == a["image_id"]
            x, y, w, h = a["bbox"]
            frame = cv2.imread(str(data / "images" / image["file_name"]))
            poses = estimator(frame, boxes=np.array([[x, y, x + w, y + h]]))
            labels = np.reshape(a["keypoints"], (5, 3))[:, :2]
            near.append(np.linalg.norm(poses.keypoints[0] - labels, axis=1) < 0.1 * max(w, h))
    assert np.mean(near) > 0.9
    answer = cli(
        "run",
        data / "images" / "kite 1.png",
        "-m",
        model,
        "--detector",
        "none",
        "-o",
        tmp_path / "out",
    )
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["pcr-nano"], "A recipe needs --data"),
        ([], "Give a RECIPE and --data FOLDER, or --from MODEL"),
        (["pcr-nano", "--from", "pcr-nano"], "Give a RECIPE and --data FOLDER, or --from MODEL"),
        (["--from", "pcr-nano"], "--from needs --labels and --images"),
        (["--from", "pcr-nano", "--labels", "a.json"], "--from needs --labels and --images"),
        (["--from", "pcr-nano", "--data", "folder"], "takes the data.yaml"),
        (["pcr-nano", "--data", "d", "--labels", "a.json"], "belong to --from"),
        (["pcr-nano", "--data", "d", "--ignore-exif"], "ignore_exif = true"),
    ],
)
def test_options_that_do_not_belong_together(
    cli: Any, tmp_path: Path, options: list[str], words: str
) -> None:
    answer = cli("train", *options, "-o", tmp_path / "run")
    assert answer.code == 2
    assert words in answer.err
    assert not (tmp_path / "run").exists()
