from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from pcr_rt.media import read_image
from pcr_rt.models import model_path


def test_a_good_artefact_passes(cli: Any, tmp_path: Path) -> None:
    answer = cli("verify", "pcr-lite", "pcr-lite:fp16", "--json", "--worst", tmp_path / "worst")
    assert answer.code == 0
    assert answer.json["passed"] is True
    assert answer.json["median"] < 0.1
    assert not (tmp_path / "worst").exists()
    answer = cli("verify", "rtmdet-nano", model_path("rtmdet-nano", "fp16"))
    assert answer.code == 0
    assert "IoU" in answer.out
    assert answer.out.endswith("passed\n")


def test_a_bad_one_fails_with_images(cli: Any, tmp_path: Path, sample_image: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "people.jpg").write_bytes(sample_image.read_bytes())
    worst = tmp_path / "worst"
    arguments = ["verify", "pcr-tiny", "pcr-tiny:int8", images, "--tolerance", "0.001"]
    answer = cli(*arguments, "--worst", worst)
    assert answer.code == 1
    assert "failed" in answer.out
    height, width = read_image(sample_image).shape[:2]
    assert cv2.imread(str(worst / "people.jpg.jpg")).shape == (height, 2 * width, 3)


def test_the_figures_come_though_the_images_cannot_be_written(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ["verify", "pcr-nano", "pcr-nano:fp16", "--tolerance", "0"]
    answer = cli(*arguments, "--worst", tmp_path / "file", "--json")
    assert answer.code == 1
    assert answer.json["median"] > 0
    assert answer.json["images"] == 1
    assert "file cannot be written" in answer.err


@pytest.mark.shared
@pytest.mark.slow
def test_average_precision_counts(cli: Any, shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    files = [data / "coco_val", "--annotations", data / "coco_val.json", "--json"]
    files += ["--worst", tmp_path / "worst"]
    answer = cli("verify", "pcr-tiny", "pcr-tiny:fp16", *files)
    assert answer.code == 0
    # Of docs/reference/precision.md, where they come from `pcr-rt eval`.
    assert answer.json["ap"] == pytest.approx([0.678, 0.679], abs=0.001)


def test_bad_input(cli: Any, tmp_path: Path) -> None:
    for arguments in (
        ("pcr-lite", "rtmdet-nano:int8"),
        ("pcr-lite", "nobody"),
        ("rtmdet-nano", "rtmdet-nano", tmp_path, "--annotations", tmp_path / "a.json"),
        ("pcr-lite", "pcr-lite", "--annotations", tmp_path / "a.json"),
    ):
        answer = cli("verify", *arguments)
        assert answer.code == 2
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
