"""COCO-WholeBody's layout, written by hand after its data_format.md."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pcr_rt.coco.annotations import select_images, select_people
from pcr_rt.coco.evaluation import keypoint_ap
from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17, Skeleton

WHOLE = Skeleton.load("coco_wholebody133")
# First keypoint of each part in the whole body's order, and how many it has.
FIRST = {"foot": (17, 6), "face": (23, 68), "lefthand": (91, 21), "righthand": (112, 21)}


def points(first: int, count: int) -> list[float]:
    """Keypoint k at (k, 2 k), visible."""
    return [n for k in range(first, first + count) for n in (k, 2 * k, 2)]


def person(**fields: Any) -> dict[str, Any]:
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [0, 0, 140, 280],
        "area": 20000,
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": points(0, 17),
    }
    for part, (first, count) in FIRST.items():
        annotation |= {f"{part}_kpts": points(first, count), f"{part}_valid": True}
    return {**annotation, "face_box": [1, 2, 3, 4], **fields}


def file(**fields: Any) -> dict[str, Any]:
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}
    image = {"id": 1, "file_name": "1.jpg", "width": 200, "height": 300}
    return {"images": [image], "annotations": [person(**fields)], "categories": [category]}


def people(data: dict[str, Any], skeleton: Skeleton = WHOLE) -> list[dict[str, Any]]:
    return select_people(data, select_images(data, None), skeleton)


def test_parts_follow_the_body_in_the_order_of_the_skeleton() -> None:
    for part, name in (
        ("foot", "left_big_toe"),
        ("face", "face-0"),
        ("righthand", "right_hand_root"),
    ):
        assert WHOLE.keypoints.index(name) == FIRST[part][0]
    data = file()
    before = json.dumps(data)
    (found,) = people(data)
    assert found["keypoints"] == points(0, 133)
    assert found["num_keypoints"] == 133
    assert json.dumps(data) == before
    (body,) = people(data, COCO17)
    assert (body["keypoints"], body["num_keypoints"]) == (points(0, 17), 17)


def test_parts_that_are_not_valid_or_not_there_are_not_labelled() -> None:
    data = file(lefthand_valid=False, righthand_kpts=[0] * 63, face_kpts=None)
    (found,) = people(data)
    expected = np.reshape(points(0, 133), (133, 3))
    expected[23:] = 0
    assert found["keypoints"] == expected.ravel().tolist()
    assert found["num_keypoints"] == 23


def test_a_part_of_another_number_of_keypoints_is_named() -> None:
    with pytest.raises(DataError, match=r"annotation 1 .* 'foot_kpts' has 15 .* have 18"):
        people(file(foot_kpts=points(17, 5)))
    assert len(people(file(foot_kpts=points(17, 5)), COCO17)) == 1  # nobody looks at it


def test_ap_is_that_of_pycocotools_on_the_joined_keypoints() -> None:
    data = file()
    found = np.reshape(points(0, 133), (133, 3)) + np.array([3, -2, 0])
    result = {"image_id": 1, "category_id": 1, "keypoints": found.ravel().tolist(), "score": 0.9}
    joined = file(keypoints=points(0, 133), num_keypoints=133)
    joined["annotations"][0] = {
        key: value for key, value in joined["annotations"][0].items() if "_kpts" not in key
    }
    joined["categories"][0]["keypoints"] = list(WHOLE.keypoints)
    ap = keypoint_ap(data, [result], skeleton=WHOLE)
    assert ap == keypoint_ap(joined, [result], skeleton=WHOLE)
    # By hand: 3 px and 2 px beside each keypoint.
    terms = np.exp(-13 / (2 * 20000 * (2 * np.array(WHOLE.sigmas)) ** 2))
    assert ap.ap == pytest.approx(np.mean(terms.mean() > np.arange(0.5, 1, 0.05)))


def test_a_file_of_bodies_alone_is_no_whole_body() -> None:
    plain = file()
    plain["annotations"] = [{k: v for k, v in person().items() if "_kpts" not in k}]
    with pytest.raises(DataError, match=r"name the 17 keypoints .*the 133 of coco_wholebody133"):
        people(plain)
