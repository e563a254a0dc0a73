from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.coco.pck import keypoint_pck
from pcr_rt.skeleton import Skeleton

CUP = Skeleton("cup", ("handle", "rim", "foot"), category="cup")


def label(number: int, image: int, keypoints: list[list[float]]) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [0, 0, 40, 100],
        "keypoints": [value for point in keypoints for value in point],
    }


def result(image: int, score: float, places: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "image_id": image,
        "score": score,
        "keypoints": [value for x, y in places for value in (x, y, 1.0)],
    }


def pck(folder: Path, labels: list[dict[str, Any]], results: list[dict[str, Any]]) -> float:
    category = {"id": 1, "name": "cup", "keypoints": list(CUP.keypoints)}
    images = [{"id": i, "file_name": f"{i}.png"} for i in (1, 2)]
    path = folder / "cups.json"
    data = {"images": images, "annotations": labels, "categories": [category]}
    path.write_text(json.dumps(data))
    return keypoint_pck(path, results, CUP)


FIRST: list[list[float]] = [[10, 10, 2], [20, 20, 1], [30, 90, 0]]
SECOND: list[list[float]] = [[200, 10, 2], [220, 20, 2], [230, 90, 2]]


def test_a_tenth_of_the_longer_side_is_the_limit(tmp_path: Path) -> None:
    # 10 of 100 pixels are just right, 10.1 are not; what is not labelled does not count.
    found = result(1, 0.5, [(20, 10), (30.1, 20), (30, 90)])
    assert pck(tmp_path, [label(1, 1, FIRST)], [found]) == pytest.approx(1 / 2)


def test_each_result_is_taken_for_one_object(tmp_path: Path) -> None:
    labels = [label(1, 1, FIRST), label(2, 1, SECOND), label(3, 2, SECOND)]
    second = [(200.0, 10.0), (220.0, 20.0), (230.0, 90.0)]
    # The second object of image 1 is found twice, its first one and image 2's not at all.
    results = [result(1, 0.4, second), result(1, 0.9, second)]
    assert pck(tmp_path, labels, results) == pytest.approx(3 / 8)
    results += [result(1, 0.2, [(10, 10), (20, 20), (0, 0)]), result(2, 0.1, second)]
    assert pck(tmp_path, labels, results) == pytest.approx(1)


def test_nothing_found_is_nothing_right(tmp_path: Path) -> None:
    assert pck(tmp_path, [label(1, 1, FIRST)], []) == 0
    far = result(1, 0.9, [(500, 500)] * 3)
    near = result(1, 0.1, [(10, 10), (20, 20), (0, 0)])
    assert pck(tmp_path, [label(1, 1, FIRST)], [far, near]) == 1
