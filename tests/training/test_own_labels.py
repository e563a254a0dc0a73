from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from exif import exif_jpeg

from drawn_kites import NAMES, draw_kites
from pcr_rt.errors import DataError
from pcr_rt.training.data.datasets import DataSet, people_from
from pcr_rt.training.data.yolo import YoloSet
from pcr_rt.training.own_labels import from_coco, from_yolo, write_run
from pcr_rt.training.recipe import load_recipe, skeleton_of


@pytest.fixture(scope="module")
def kites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_kites(tmp_path_factory.mktemp("kites") / "data", 20)


def ids(data: dict[str, Any]) -> set[int]:
    return {image["id"] for image in data["images"]}


def test_the_recipe_fits_the_set(kites: Path, tmp_path: Path) -> None:
    labels = from_coco(kites / "labels.json", kites / "images")
    run = write_run("pcr-nano", labels, tmp_path / "mine")
    assert (run.train, run.held_out) == (16, 4)
    recipe = load_recipe(run.recipe)
    assert (recipe.name, recipe.start) == ("mine", "pcr-nano")
    # 16 people, batches of 16: a pass is a step, and 200 steps are the least.
    assert [stage.epochs for stage in recipe.stage] == [200, 100]
    assert [stage.encoder_rate for stage in recipe.stage] == [0, 0.1]
    assert recipe.stage[0].size == (96, 128)
    assert recipe.optimizer.frozen_norms == "all"
    assert recipe.augmentation.flip == 0.5
    skeleton = skeleton_of(recipe, tmp_path / "mine")
    assert skeleton.keypoints == tuple(NAMES)
    assert skeleton.limbs == (("top", "middle"), ("middle", "tail"), ("left_wing", "right_wing"))
    assert skeleton.category == "kite"


def test_images_are_split_once(kites: Path) -> None:
    data = json.loads((kites / "labels.json").read_text())
    data["annotations"][2]["keypoints"] = [0] * 15
    (kites / "some.json").write_text(json.dumps(data))
    one, two = (from_coco(kites / "some.json", kites / "images") for _ in range(2))
    assert one == two
    assert not ids(one.train) & ids(one.held_out)
    # Image 3 has no label.
    assert ids(one.train) | ids(one.held_out) == set(range(1, 21)) - {3}
    assert {a["image_id"] for a in one.train["annotations"]} == ids(one.train)
    assert len(ids(one.held_out)) == 3
    for key in ("images", "annotations"):
        data[key] = data[key][:1]
    (kites / "one.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match="has 1 images with labelled keypoints"):
        from_coco(kites / "one.json", kites / "images")


def test_a_yolo_set_has_its_own_parts(kites: Path, tmp_path: Path) -> None:
    data = json.loads((kites / "labels.json").read_text())
    for image, a in zip(data["images"], data["annotations"], strict=True):
        part = "val" if image["id"] <= 3 else "train"
        name = image["file_name"]
        for kind in ("images", "labels"):
            (tmp_path / kind / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / part / name).write_bytes((kites / "images" / name).read_bytes())
        x, y, w, h = a["bbox"]
        numbers = [(x + w / 2) / 160, (y + h / 2) / 160, w / 160, h / 160]
        points = a["keypoints"]
        for px, py, v in zip(points[::3], points[1::3], points[2::3], strict=True):
            numbers += [px / 160, py / 160, v]
        line = " ".join(map(str, [0, *numbers]))
        (tmp_path / "labels" / part / name).with_suffix(".txt").write_text(line + "\n")
    yaml = "train: images/train\nval: images/val\nnames: [kite]\nkpt_shape: [5, 3]\n"
    (tmp_path / "data.yaml").write_text(yaml + "flip_idx: [0, 2, 1, 3, 4]\n")
    labels = from_yolo(tmp_path / "data.yaml")
    assert (len(labels.train["images"]), len(labels.held_out["images"])) == (17, 3)
    found = {Path(i["file_name"]).name: i["id"] for i in labels.held_out["images"]}
    for a in labels.held_out["annotations"]:
        name = next(name for name, number in found.items() if number == a["image_id"])
        image = next(i for i in data["images"] if i["file_name"] == name)
        assert a["keypoints"] == pytest.approx(data["annotations"][image["id"] - 1]["keypoints"])
    run = write_run("pcr-nano", labels, tmp_path / "run")
    skeleton = skeleton_of(load_recipe(run.recipe), tmp_path / "run")
    assert skeleton.flip.tolist() == [0, 2, 1, 3, 4]


def test_labels_made_without_the_exif_turn(kites: Path, tmp_path: Path) -> None:
    upright = write_run("pcr-nano", from_coco(kites / "labels.json", kites / "images"), tmp_path)
    assert "ignore_exif" not in upright.recipe.read_text()
    stored = from_coco(kites / "labels.json", kites / "images", ignore_exif=True)
    recipe = load_recipe(write_run("pcr-nano", stored, tmp_path).recipe)
    assert recipe.data[0].ignore_exif
    assert recipe.validation.ignore_exif


def test_a_yolo_set_that_was_labelled_without_the_exif_turn(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(exif_jpeg(np.zeros((40, 80, 3), np.uint8), 8))
        (tmp_path / name).with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5 0.25 0.5 2")
    (tmp_path / "data.yaml").write_text("train: .\nnames: [dot]\nkpt_shape: [1, 3]\n")
    for ignored, width, height in ((False, 40, 80), (True, 80, 40)):
        (image,) = from_yolo(tmp_path / "data.yaml", ignore_exif=ignored).train["images"]
        assert (image["width"], image["height"]) == (width, height)
        source = DataSet("data.yaml", ".", format="yolo", ignore_exif=ignored)
        skeleton = YoloSet(tmp_path / "data.yaml").skeleton
        person = people_from(source, tmp_path, "refuse", skeleton)[0]
        assert person.keypoints.tolist() == [[width / 4, height / 2]]
        assert person.ignore_exif == ignored


def test_a_begun_run_is_not_overwritten(kites: Path, tmp_path: Path) -> None:
    labels = from_coco(kites / "labels.json", kites / "images")
    run = write_run("pcr-nano", labels, tmp_path)
    (tmp_path / "last.pt").write_bytes(b"")
    assert write_run("pcr-nano", labels, tmp_path) == run
    before = run.recipe.read_text()
    with pytest.raises(DataError, match=r"a run with another recipe\.toml: name another output"):
        write_run("pcr-tiny", labels, tmp_path)
    assert run.recipe.read_text() == before


def test_images_that_are_not_there(kites: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"kite \d+\.png does not exist"):
        write_run("pcr-nano", from_coco(kites / "labels.json", tmp_path), tmp_path / "run")
