"""Labels as CVAT, Roboflow and Label Studio export them, to what is trained on.

The files are written by hand after the tools' documentation and converters of 2026: CVAT's pages on
COCO Keypoints and Ultralytics YOLO, Roboflow's COCO and YOLOv8 keypoint formats, and Label Studio's
converter (label-studio-sdk, converter/keypoints.py and exports/yolo.py).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from drawn_kites import NAMES, draw_kites
from pcr_rt.errors import DataError
from pcr_rt.training.own_labels import Labels, from_coco, from_yolo, write_run

COUNT, SIDE = 6, 160


@pytest.fixture(scope="module")
def kites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_kites(tmp_path_factory.mktemp("kites") / "data", COUNT)


def given(kites: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((kites / "labels.json").read_text())
    return data


def images(kites: Path, folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True)
    for image in (kites / "images").iterdir():
        shutil.copy(image, folder / f"{prefix}{image.name}")


def yolo(kites: Path, folder: Path, numbers: list[int], prefix: str = "") -> None:
    """Write images and text files of kites into ``images`` and ``labels`` of a folder."""
    data = given(kites)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        name, a = data["images"][number]["file_name"], data["annotations"][number]
        shutil.copy(kites / "images" / name, folder / "images" / f"{prefix}{name}")
        x, y, w, h = np.array(a["bbox"]) / SIDE
        row = [0, x + w / 2, y + h / 2, w, h]
        for px, py, v in np.reshape(a["keypoints"], (-1, 3)):
            row += [px / SIDE, py / SIDE, int(v)]
        text = " ".join(map(str, row)) + "\n"
        (folder / "labels" / f"{prefix}{Path(name).stem}.txt").write_text(text)


def check(labels: Labels, kites: Path, run: Path, names: list[str] = NAMES) -> None:
    """All kites are there with their keypoints, and the run can be written."""
    assert list(labels.skeleton.keypoints) == names
    data, found = given(kites), {}
    for part in (labels.train, labels.held_out):
        stems = {
            i["id"]: Path(i["file_name"]).stem.removeprefix("0a1b2c3d-") for i in part["images"]
        }
        found |= {
            stems[a["image_id"]]: a["keypoints"] for a in part["annotations"] if a.get("keypoints")
        }
    assert len(found) == COUNT
    for image, a in zip(data["images"], data["annotations"], strict=True):
        # Label Studio's COCO rounds to whole pixels.
        assert found[Path(image["file_name"]).stem] == pytest.approx(a["keypoints"], abs=0.51)
    assert write_run("pcr-nano", labels, run).held_out == len(labels.held_out["images"])


def test_cvat_coco_keypoints(kites: Path, tmp_path: Path) -> None:
    data = given(kites)
    images(kites, tmp_path / "images" / "default")
    for image in data["images"]:
        image |= {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
    for a in data["annotations"]:
        a |= {
            "segmentation": [],
            "area": a["bbox"][2] * a["bbox"][3],
            "iscrowd": 0,
            "attributes": {"occluded": False, "rotation": 0.0, "track_id": 0, "keyframe": True},
            "num_keypoints": 5,
        }
    data["categories"][0]["supercategory"] = ""
    data |= {"licenses": [{"name": "", "id": 0, "url": ""}], "info": {"version": "", "year": ""}}
    file = tmp_path / "annotations" / "person_keypoints_default.json"
    file.parent.mkdir()
    file.write_text(json.dumps(data))
    labels = from_coco(file, tmp_path / "images" / "default")
    check(labels, kites, tmp_path / "run")
    assert labels.skeleton.limbs == (
        ("top", "middle"),
        ("middle", "tail"),
        ("left_wing", "right_wing"),
    )
    with pytest.raises(DataError, match=r"kite \d\.png does not exist"):
        write_run("pcr-nano", from_coco(file, tmp_path / "images"), tmp_path / "other")


def test_cvat_ultralytics_yolo_pose(kites: Path, tmp_path: Path) -> None:
    yolo(kites, tmp_path / "part", list(range(COUNT)))
    for kind in ("images", "labels"):  # CVAT has the part below images and labels
        (tmp_path / kind).mkdir()
        (tmp_path / "part" / kind).rename(tmp_path / kind / "train")
    names = [image["file_name"] for image in given(kites)["images"]]
    (tmp_path / "train.txt").write_text("".join(f"images/train/{name}\n" for name in names))
    (tmp_path / "data.yaml").write_text(
        "kpt_shape: [5, 3]\nnames:\n  0: kite\npath: .\ntrain: train.txt\n"
    )
    labels = from_yolo(tmp_path / "data.yaml")
    check(labels, kites, tmp_path / "run", [f"keypoint_{i}" for i in range(1, 6)])
    assert labels.skeleton.pairs is None


def test_roboflow_coco(kites: Path, tmp_path: Path) -> None:
    """Labels lie beside their images, and a root category owns no annotation."""
    data = given(kites)
    images(kites, tmp_path / "train")
    kite = data["categories"][0] | {"id": 1, "supercategory": "kites"}
    data["categories"] = [{"id": 0, "name": "kites", "supercategory": "none"}, kite]
    for i, a in enumerate(data["annotations"]):
        a |= {"id": i, "image_id": i, "area": 1.5, "segmentation": [], "iscrowd": 0}
        data["images"][i] |= {"id": i, "license": 1, "date_captured": "2026-11-01T00:00:00+00:00"}
    file = tmp_path / "train" / "_annotations.coco.json"
    file.write_text(json.dumps(data))
    labels = from_coco(file, tmp_path / "train")
    check(labels, kites, tmp_path / "run")
    assert labels.skeleton.category == "kite"


def test_roboflow_yolov8_pose(kites: Path, tmp_path: Path) -> None:
    yolo(kites, tmp_path / "train", [0, 1, 2, 3])
    yolo(kites, tmp_path / "valid", [4, 5])
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\n"
        "kpt_shape: [5, 3]\nflip_idx: [0, 2, 1, 3, 4]\n\nnc: 1\nnames: ['kite']\n\n"
        "roboflow:\n  workspace: mine\n  project: kites\n  version: 1\n  license: CC BY 4.0\n"
    )
    labels = from_yolo(tmp_path / "data.yaml")
    check(labels, kites, tmp_path / "run", [f"keypoint_{i}" for i in range(1, 6)])
    assert (len(labels.train["images"]), len(labels.held_out["images"])) == (4, 2)
    assert labels.skeleton.flip.tolist() == [0, 2, 1, 3, 4]


@pytest.mark.parametrize("boxes", ["kite", "person"])
def test_label_studio_coco(kites: Path, tmp_path: Path, boxes: str) -> None:
    """Keypoints have a category "default" beside the boxes', and a box of their extent."""
    data = given(kites)
    images(kites, tmp_path / "images", "0a1b2c3d-")
    keypoints = {"id": 1, "name": "default", "supercategory": "default", "keypoints": NAMES}
    data["categories"] = [{"id": 0, "name": boxes}, keypoints | {"skeleton": []}]
    annotations = []
    for i, a in enumerate(data["annotations"]):
        data["images"][i] |= {
            "id": i,
            "file_name": f"images/0a1b2c3d-{data['images'][i]['file_name']}",
        }
        plain = {"segmentation": [], "bbox": a["bbox"], "ignore": 0, "iscrowd": 0, "area": 2.5}
        annotations.append({"id": 2 * i, "image_id": i, "category_id": 0, **plain})
        points = np.reshape(a["keypoints"], (5, 3)).round()
        low, size = points[:, :2].min(0), np.ptp(points[:, :2], axis=0)
        flat = points.astype(int).ravel().tolist()
        own = {"keypoints": flat, "num_keypoints": 5, "bbox": [*low, *size], "iscrowd": 0}
        annotations.append({"id": 2 * i + 1, "image_id": i, "category_id": 1, **own})
    data |= {"annotations": annotations, "info": {"year": 2026, "version": "1.0"}}
    (tmp_path / "result.json").write_text(json.dumps(data))
    labels = from_coco(tmp_path / "result.json", tmp_path / "images")
    check(labels, kites, tmp_path / "run")
    assert labels.skeleton.category == "default"


def test_label_studio_yolo_needs_a_data_yaml(kites: Path, tmp_path: Path) -> None:
    """It writes images, labels, classes.txt and notes.json; data.yaml is the user's."""
    yolo(kites, tmp_path, list(range(COUNT)), "0a1b2c3d-")
    (tmp_path / "classes.txt").write_text("kite\n")
    (tmp_path / "notes.json").write_text('{"categories": [{"id": 0, "name": "kite"}]}')
    (tmp_path / "data.yaml").write_text(
        f"train: images\nnames: [kite]\nkpt_shape: [5, 3]\nkpt_names: {{0: [{', '.join(NAMES)}]}}\n"
    )
    check(from_yolo(tmp_path / "data.yaml"), kites, tmp_path / "run")
