from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.hard_negatives import detect, read_hard_negatives
from pcr_rt.training.data.loader import Loader, View
from pcr_rt.training.data.person import Person
from pcr_rt.training.data.targets import (
    draw_heatmaps,
    sigma_for,
    to_heatmap,
    weights_inside,
)
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer


def write(folder: Path, detections: Any, *people: dict[str, Any], **image: Any) -> list[Person]:
    cv2.imwrite(str(folder / "1.png"), np.full((100, 100, 3), 90, np.uint8))
    data = {
        "images": [{"id": 1, "file_name": "1.png", **image}],
        "annotations": [{"id": i, "image_id": 1, **p} for i, p in enumerate(people)],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "labels.json").write_text(json.dumps(data))
    (folder / "detections.json").write_text(json.dumps(detections))
    return read_hard_negatives(
        folder / "labels.json", folder, detections=folder / "detections.json", min_score=0.5
    )


def box(*xywh: float, score: float = 0.9, **more: Any) -> dict[str, Any]:
    return {"image_id": 1, "category_id": 1, "bbox": list(xywh), "score": score, **more}


def test_only_confident_boxes_away_from_everybody(tmp_path: Path) -> None:
    person = {"bbox": [10, 10, 20, 20], "keypoints": [0] * 51, "num_keypoints": 0}
    crowd = {"bbox": [70, 70, 20, 20], "iscrowd": 1}
    found = write(
        tmp_path,
        [
            box(40, 40, 10, 20, score=0.5),  # beside both: counts
            box(40, 40, 10, 20, score=0.49),
            box(25, 25, 20, 20),  # a corner over a person without keypoints
            box(30, 10, 5, 5),  # touches that person's border, no area in common: counts
            box(60, 60, 40, 40),  # around a crowd
            box(40, 40, 10, 20, category_id=3),
            box(40, 40, 0, 20),
        ],
        person,
        crowd,
    )
    assert [p.box.tolist() for p in found] == [[40, 40, 50, 60], [30, 10, 35, 15]]
    assert all((p.amplitudes == 0).all() and (p.weights == 1).all() for p in found)


def test_images_with_missing_boxes_are_left_out(tmp_path: Path) -> None:
    assert not write(tmp_path, [box(40, 40, 10, 20)], boxes_complete=False)
    assert len(write(tmp_path, [box(40, 40, 10, 20)], boxes_complete=True)) == 1


def test_broken_detections_and_people_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match="detection 1 "):
        write(tmp_path, [box(1, 2, 3, 4), {"image_id": 1, "score": 1}])
    with pytest.raises(DataError, match="Annotation 0"):
        write(tmp_path, [box(1, 2, 3, 4)], {"bbox": None})
    with pytest.raises(DataError, match="no detections"):
        write(tmp_path, {"annotations": []})
    write(tmp_path, [box(1, 2, 3, 4)])
    (tmp_path / "1.png").unlink()
    files = tmp_path / "labels.json", tmp_path
    with pytest.raises(DataError, match="id 1"):
        read_hard_negatives(*files, detections=tmp_path / "detections.json")
    with caplog.at_level(logging.WARNING):
        assert not read_hard_negatives(
            *files, detections=tmp_path / "detections.json", broken="skip"
        )
    assert "id 1" in caplog.text


def test_any_callable_detects(tmp_path: Path) -> None:
    write(tmp_path, [])
    found = detect(
        lambda frames, lowest: [(np.array([[1.0, 2, 4, 6]]), np.array([lowest]))],
        tmp_path / "labels.json",
        tmp_path,
        min_score=0.3,
    )
    assert found == [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.3}]


def test_every_batch_has_its_share_of_empty_targets(tmp_path: Path) -> None:
    negatives = write(tmp_path, [box(40, 40, 10, 20), box(10, 60, 30, 30)])
    corner = np.array([0.0, 0, 20, 30])
    people = [
        Person(tmp_path / "1.png", 1, corner, np.full((17, 2), 9.0), np.ones(17), np.ones(17))
    ] * 3
    view = View((24, 32), (6, 8), "udp", Augmentation(rotation=80, scale=0.5))
    loader = Loader(people, view, batch=5, seed=0, shares=[(negatives, 2)])
    batches = list(loader.batches(0, 20))
    for batch in batches:
        points = to_heatmap(batch.points, view.size, view.heatmap, "udp")
        sigma = sigma_for(view.heatmap)
        maps = draw_heatmaps(points, batch.amplitudes, view.heatmap, sigma)
        weights = weights_inside(points, batch.weights, view.heatmap, sigma)
        empty = (maps == 0).all((1, 2, 3))
        assert empty.sum() == 2
        assert (weights[empty] == 1).all()
    # Several processes share a batch: together they have its samples.
    parts = [
        next(Loader(people, view, batch=5, seed=0, shares=[(negatives, 2)], part=p).batches(7, 8))
        for p in ((0, 2), (1, 2))
    ]
    assert [len(part.images) for part in parts] == [3, 2]
    for r, part in enumerate(parts):
        assert torch.equal(part.images, batches[7].images[r::2])


def test_a_recipe_mixes_them_in_by_name(drawn: Path, tmp_path: Path) -> None:
    detections = [
        {"image_id": 1, "bbox": [0, 0, 10, 10], "score": 0.9},
        {"image_id": 2, "bbox": [20, 20, 10, 10], "score": 0.9},
    ]
    (drawn / "detections.json").write_text(json.dumps(detections))
    text = (drawn / "recipe.toml").read_text()
    people = '[[data]]\nname = "C"\n'
    negatives = """
[[data]]
name = "H"
format = "hard_negatives"
annotations = "labels.json"
images = "images"
detections = "detections.json"
share = 0.25
"""
    text = text.replace("[[data]]\n", negatives + people)
    text = text.replace("epochs = 1\n", 'epochs = 1\ndata = ["C"]\n')
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    trainer = Trainer(load_recipe(path), drawn, tmp_path / "run")
    assert trainer.count_people() == 8 + 1
    # Three of each batch of four are people in the first stage, all four in the second.
    assert trainer.lengths() == [2 * (8 // 3), 2]
    assert trainer.run()
    for old, new, words in (
        ('data = ["C"]', 'data = ["A"]', "allowed are 'H', 'C'"),
        ('data = ["C"]', 'data = ["H"]', "no room"),
        ('name = "C"', 'name = "H"', "same name"),
        ("share = 0.25", "share = 1.5", "share"),
        ("share = 0.25", "", "share is 0"),
        ('detections = "detections.json"', "", "detections"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(DataError, match=words):
            load_recipe(path)
