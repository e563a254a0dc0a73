from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pcr_rt.models import ModelSpec
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


def test_a_teacher_of_another_skeleton_is_refused(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from toys import PLAIN, brightness_model

    spec = ModelSpec(
        "two", "heatmap", (48, 64), skeleton=Skeleton("pair", ("a", "b"), pairs=()), **PLAIN
    )
    model = brightness_model(tmp_path / "two.onnx", spec, joints=2)
    (tmp_path / "images").mkdir()
    answer = cli("label", tmp_path / "images", tmp_path / "out.json", "-m", model)
    assert answer.code == 2
    assert "COCO's 17 keypoints; 'two' finds those of 'pair'" in answer.err
    assert not (tmp_path / "out.json").exists()
