"""What detector boxes cost: pairing by hand, and the whole report on two images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("pycocotools")

import end_to_end
from common import only


def test_each_box_is_one_persons_the_best_overlap_first() -> None:
    people = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [50, 50, 60, 60]], float)
    # With the second person 9/11, with the first 5/15; then a worse box of the first, and nobody's.
    boxes = np.array([[5, 0, 15, 10], [0, 0, 10, 6], [80, 80, 90, 90]], float)
    assert end_to_end.pairs(people, boxes) == {1: 0, 0: 1}
    assert end_to_end.pairs(people, boxes[:0]) == {}
    # IoU of 0.5 is enough, less is not.
    assert end_to_end.pairs(people[:1], np.array([[0, 0, 10, 5.0]])) == {0: 0}
    assert end_to_end.pairs(people[:1], np.array([[0, 0, 10, 4.9]])) == {}


def test_twenty_results_an_image_count() -> None:
    results = [{"image_id": i % 2, "score": i / 100} for i in range(60)]
    kept = end_to_end.best_of_each(results)
    assert sorted(r["score"] for r in kept) == [i / 100 for i in range(20, 60)]


@pytest.mark.shared
@pytest.mark.slow
def test_report_on_two_images(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = json.loads((shared / "data" / "coco_val.json").read_text())
    labelled = {p["image_id"] for p in data["annotations"] if p["num_keypoints"] > 8}
    data = only(data, [i for i in data["images"] if i["id"] in labelled][:2])
    path = tmp_path / "two.json"
    path.write_text(json.dumps(data))
    monkeypatch.setattr(end_to_end, "SIZES", (256, 416))
    folder = shared / "data" / "coco_val"
    found = end_to_end.steps(path, folder, "pcr-tiny")
    assert found["found"]["results"] + found["missed"] == found["labelled"]["results"]
    assert found["labelled"]["ap"] > 0.3
    rows = end_to_end.grid(data, folder, "pcr-tiny")
    assert [(r["size"], r["threshold"]) for r in rows] == [
        (size, t) for size in (256, 416) for t in end_to_end.THRESHOLDS
    ]
    assert sum("ms" in row for row in rows) == 1 + len(end_to_end.THRESHOLDS)
    for four in (rows[:4], rows[4:]):
        crops = [row["crops_per_image"] for row in four]
        assert crops == sorted(crops, reverse=True)
