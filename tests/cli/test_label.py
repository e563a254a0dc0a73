from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pcr_rt.skeleton import Skeleton


@pytest.mark.parametrize(
    ("options", "each", "few"), [([], 9, False), (["--min-score", "0.9"], 2, True)]
)
def test_what_was_kept_is_said(
    cli: Any, toy: Path, tmp_path: Path, options: list[str], each: int, few: bool
) -> None:
    """On red, keypoint k has the score (k + 1) / 17: nine have 0.5 or more, two have 0.9."""
    (tmp_path / "images").mkdir()
    for name in "ab":
        red = np.zeros((64, 48, 3), np.uint8)
        red[..., 2] = 255
        assert cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), red)
    output = tmp_path / "labels.json"
    options += ["-m", str(toy), "--detector", "none", "--no-flip-test", "--device", "cpu"]
    answer = cli("label", tmp_path / "images", output, *options)
    assert answer.code == 0, answer.err
    said = f"{output}: 2 images, 2 people, {2 * each} keypoints ({each}.0 a person)\n"
    assert answer.out == said
    assert ("few keypoints have a score of 0.9 or more" in answer.err) == few
    counts = [a["num_keypoints"] for a in json.loads(output.read_text())["annotations"]]
    assert counts == [each, each]


def test_a_teacher_of_another_skeleton(cli: Any, tmp_path: Path) -> None:
    """A file of 21 keypoints that does not name them; on red, keypoint k scores (k + 1) / 21."""
    pytest.importorskip("onnx")
    from toys import brightness_model

    model = brightness_model(tmp_path / "hands.onnx", None, joints=21, batch=1)
    (tmp_path / "images").mkdir()
    red = np.zeros((64, 48, 3), np.uint8)
    red[..., 2] = 255
    assert cv2.imwrite(str(tmp_path / "images" / "a.png"), red)
    output = tmp_path / "out.json"
    options = ["-m", model, "--detector", "none", "--no-flip-test", "--device", "cpu"]
    answer = cli("label", tmp_path / "images", output, *options)
    assert answer.code == 2
    assert "finds 21 keypoints and does not name them" in answer.err
    answer = cli("label", tmp_path / "images", output, *options, "--skeleton", "hand21")
    assert answer.code == 0, answer.err
    # Normalised red is (1 - 0.485) / 0.229 = 2.249: from k = 4 on it gives 0.5 and more.
    said = f"{output}: 1 images, 1 people, 17 keypoints (17.0 a person)\n"
    assert answer.out == said
    (category,) = json.loads(output.read_text())["categories"]
    assert category["keypoints"] == list(Skeleton.load("hand21").keypoints)
