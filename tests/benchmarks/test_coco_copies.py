from __future__ import annotations

import json
import sys
from pathlib import Path

import coco_copies
import cv2
import numpy as np
import pytest

SHAPES = {9: (640, 427), 25: (480, 640), 30: (640, 480)}
"""The originals' (w, h) by image id; 30 is of val2017."""


@pytest.fixture
def people(tmp_path: Path) -> dict[int, np.ndarray]:
    """Squeezed images and the labels of one person in each, at whole pixels: (17, 2) by id."""
    rng = np.random.default_rng(0)
    (tmp_path / "copies").mkdir()
    labels: dict[str, list[object]] = {key: [] for key in ("image_id", "box", "points", "seen")}
    people = {}
    for i, shape in SHAPES.items():
        frame = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"copies/COCO_train2014_{i:012d}.jpg"), frame)
        people[i] = rng.integers(1, np.array(shape), (17, 2))
        labels["image_id"].append(i)
        labels["box"].append([0.5, 0.5, 0.25, 0.5])
        labels["points"].append(people[i] / shape)
        labels["seen"].append([2] * 16 + [0])
    np.savez(
        tmp_path / "labels.npz",
        image_id=np.array(labels["image_id"]),
        is_val=np.array(labels["image_id"]) == 30,
        box_cxcywh_u16=np.round(np.array(labels["box"]) * 65535).astype(np.uint16),
        kp_xy_u16=np.round(np.array(labels["points"]) * 65535).astype(np.uint16),
        kp_v=np.array(labels["seen"], dtype=np.uint8),
    )
    return people


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> dict:
    arguments = [str(folder / name) for name in ("copies", "labels.npz", "out")]
    monkeypatch.setattr(sys, "argv", ["coco_copies.py", *arguments, *more])
    coco_copies.main()
    return json.loads((folder / "out.json").read_text())


def test_images_get_their_shape_back(
    people: dict[int, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = run(tmp_path, monkeypatch)
    # 256 x 256 pixels in the shape of 640 x 427 and 480 x 640.
    assert [(m["id"], m["width"], m["height"]) for m in data["images"]] == [
        (9, 313, 209),
        (25, 222, 296),
    ]
    for image, annotation in zip(data["images"], data["annotations"], strict=True):
        written = cv2.imread(str(tmp_path / "out" / image["file_name"]))
        size = np.array([image["width"], image["height"]])
        assert written.shape[1::-1] == tuple(size)
        keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
        # The middle of pixel x lies at x + 0.5 of the original's width.
        expected = (people[image["id"]] + 0.5) / SHAPES[image["id"]] * size - 0.5
        np.testing.assert_allclose(keypoints[:16, :2], expected[:16], atol=0.01)
        assert keypoints[16].tolist() == [0, 0, 0]
        assert annotation["num_keypoints"] == 16
        box = [size[0] * 3 / 8, size[1] / 4, size[0] / 4, size[1] / 2]
        np.testing.assert_allclose(annotation["bbox"], box, atol=0.02)


def test_images_of_other_sets_are_left_out(
    people: dict[int, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"images": [{"id": 9}]}))
    data = run(tmp_path, monkeypatch, "--leave-out", str(tmp_path / "own.json"))
    assert [image["id"] for image in data["images"]] == [25]


def test_of_several_shapes_the_commonest_is_taken() -> None:
    fits = {1: [(640, 427)], 2: [(640, 427)], 3: [(640, 480)], 4: [(640, 480), (640, 427)], 5: []}
    assert coco_copies.likeliest(fits)[4] == (640, 427)
    assert 5 not in coco_copies.likeliest(fits)
