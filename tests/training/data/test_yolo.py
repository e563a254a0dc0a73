from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.datasets import DataSet, people_from
from pcr_rt.training.data.yolo import YoloSet

YAML = """
path: .
train: images/train
names: {0: arrow}
kpt_shape: [3, 3]
kpt_names: {0: [tip, a, b]}
flip_idx: [0, 2, 1]
"""
ARROW = Skeleton("arrow", ("tip", "a", "b"), pairs=(("a", "b"),), category="arrow")
LINE = "0 0.5 0.25 0.2 0.1 0.5 0.25 2 0.25 0.75 1 0 0 0\n"


def make(folder: Path, text: str = YAML, line: str = LINE, part: str = "train") -> Path:
    """A data set of one image of 200x100 pixels."""
    for kind in ("images", "labels"):
        (folder / kind / part).mkdir(parents=True)
    cv2.imwrite(str(folder / "images" / part / "1.png"), np.zeros((100, 200, 3), np.uint8))
    (folder / "labels" / part / "1.txt").write_text(line)
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def people(folder: Path, broken: Any = "refuse", **options: Any) -> Any:
    source = DataSet("data.yaml", "images/train", format="yolo", **options)
    return people_from(source, folder, broken, ARROW)


def test_fractions_become_pixels(tmp_path: Path) -> None:
    assert YoloSet(make(tmp_path)).skeleton == ARROW
    (found,) = people(tmp_path)
    assert found.box.tolist() == [80, 20, 120, 30]
    assert found.keypoints.tolist() == [[100, 25], [50, 75], [0, 0]]
    assert found.weights.tolist() == [1, 1, 0]
    assert found.image == tmp_path / "images" / "train" / "1.png"
    assert found.image_size == (200, 100)


def test_keypoints_without_a_third_number(tmp_path: Path) -> None:
    line = "0 0.5 0.25 0.2 0.1 0.5 0.25 0.25 0.75 0 0\n"
    make(tmp_path, YAML.replace("[3, 3]", "[3, 2]"), line)
    (found,) = people(tmp_path)
    assert found.keypoints.tolist() == [[100, 25], [50, 75], [0, 0]]
    assert found.weights.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("train", "train: images/train"),
        ("train", "train: ../images/train"),  # Roboflow
        ("train", "train: train.txt"),  # CVAT
        ("train", "train: [images/train]"),
    ],
)
def test_parts_as_the_tools_write_them(tmp_path: Path, part: str, change: str) -> None:
    yaml = YoloSet(make(tmp_path, YAML.replace("train: images/train", change)))
    (tmp_path / "train.txt").write_text("data/images/train/1.png\n\n")
    assert [image.name for image in yaml.part("train")] == ["1.png"]
    assert yaml.part("val", "valid") == []


def test_names_and_pairs_that_are_not_given(tmp_path: Path) -> None:
    plain = YAML.replace("kpt_names: {0: [tip, a, b]}\n", "")
    skeleton = YoloSet(make(tmp_path / "a", plain)).skeleton
    assert skeleton.keypoints == ("keypoint_1", "keypoint_2", "keypoint_3")
    assert skeleton.flip.tolist() == [0, 2, 1]
    bare = plain.replace("flip_idx: [0, 2, 1]\n", "").replace("names: {0: arrow}", "names: [x, y]")
    skeleton = YoloSet(make(tmp_path / "b", bare)).skeleton
    assert (skeleton.pairs, skeleton.category) == (None, "object")
    coco = bare.replace("[3, 3]", "[17, 3]") + f"flip_idx: {COCO17.flip.tolist()}\n"
    assert YoloSet(make(tmp_path / "c", coco)).skeleton == COCO17


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kpt_shape: [3, 3]", "", "'kpt_shape' is None"),
        ("kpt_shape: [3, 3]", "kpt_shape: [3, 4]", "2 or 3"),
        ("[0, 2, 1]", "[0, 2, 2]", "numbers from 0 to 2"),
        ("[tip, a, b]", "[tip, a]", "2 names, 'kpt_shape' says 3"),
        ("path: .", "path: [", "YAML"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = make(tmp_path, YAML.replace(old, new))
    with pytest.raises(DataError, match=words):
        YoloSet(path)


def test_broken_lines_and_missing_folders(tmp_path: Path) -> None:
    make(tmp_path, line="0 0.5 0.5\n" + LINE + "0 x\n")
    with pytest.raises(DataError, match=r"Line 1 of .*1\.txt is not 14 numbers"):
        people(tmp_path)
    assert len(people(tmp_path, "skip")) == 1
    (tmp_path / "labels" / "train" / "1.txt").unlink()
    assert people(tmp_path) == []
    with pytest.raises(DataError, match=r"'images/val', which is not in"):
        YoloSet(tmp_path / "data.yaml").images("images/val")
