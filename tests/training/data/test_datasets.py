from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.skeleton import KEYPOINTS
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.datasets import DataSet, people_from
from pcr_rt.training.data.loader import Loader, View
from pcr_rt.training.data.person import Person

PICTURE = b"not read here"


def read(folder: Path, data: Any, *, broken: Any = "refuse", **options: Any) -> list[Person]:
    (folder / "labels.json").write_text(json.dumps(data))
    return people_from(DataSet("labels.json", "", **options), folder, broken)


def coco(*annotations: dict[str, Any], images: int = 1) -> dict[str, Any]:
    pictures = [{"id": i, "file_name": f"{i}.jpg"} for i in range(1, images + 1)]
    return {"images": pictures, "annotations": list(annotations)}


def aic(**change: Any) -> dict[str, Any]:
    """A record as the official file has it; keypoint i lies at (i, 10 i)."""
    keypoints = [value for i in range(1, 15) for value in (i, 10 * i, 1 + i % 3)]
    return {
        "image_id": "d8eeddddcc042544a2570d4c452778b912726720",
        "url": "http://none",
        "human_annotations": {"human1": [10, 20, 40, 80]},
        "keypoint_annotations": {"human1": keypoints},
        **change,
    }


def test_ai_challenger_by_name_and_visibility(tmp_path: Path) -> None:
    (tmp_path / f"{aic()['image_id']}.jpg").write_bytes(PICTURE)
    (person,) = read(tmp_path, [aic()], format="ai_challenger", weight=0.5)
    np.testing.assert_array_equal(person.box, [10, 20, 40, 80])
    # The official order, numbered from 1; visibility here is 2, 3, 1, 2, 3, 1, ... and 3 is absent.
    official = {
        "right_shoulder": 1,
        "right_wrist": 3,
        "left_shoulder": 4,
        "left_wrist": 6,
        "right_hip": 7,
        "right_ankle": 9,
        "left_hip": 10,
        "left_ankle": 12,
    }
    expected = np.zeros(17)
    for name, number in official.items():
        slot = KEYPOINTS.index(name)
        expected[slot] = 0.5
        np.testing.assert_array_equal(person.keypoints[slot], [number, 10 * number])
    np.testing.assert_array_equal(person.weights, expected)


def test_broken_ai_challenger_records_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{aic()['image_id']}.jpg").write_bytes(PICTURE)
    (tmp_path / "b.jpg").write_bytes(PICTURE)
    records = [
        aic(),
        aic(image_id="b", human_annotations={}),
        aic(image_id="gone"),
        aic(image_id="b", keypoint_annotations={"human1": [1, 2, 3]}),
        "text",
    ]
    for bad, name in zip(records[1:], ("image b", "gone", "b/human1", "Record 0"), strict=True):
        with pytest.raises(DataError, match=name):
            read(tmp_path, [bad], format="ai_challenger")
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path, records, format="ai_challenger", broken="skip")) == 1
    for name in ("image b", "gone", "b/human1", "Record 4"):
        assert name in caplog.text
    with pytest.raises(DataError, match="list"):
        read(tmp_path, {}, format="ai_challenger")


def test_crowdpose_joints_without_names(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(PICTURE)
    keypoints = [value for i in range(14) for value in (i, i, 2)]
    data = coco({"id": 1, "image_id": 1, "bbox": [0, 0, 9, 9], "keypoints": keypoints})
    (person,) = read(tmp_path, data, format="crowdpose")
    # CrowdPose lists shoulders to ankles as COCO does, left before right, without a face.
    np.testing.assert_array_equal(person.weights, [0] * 5 + [1] * 12)
    np.testing.assert_array_equal(person.keypoints[5:, 0], np.arange(12))


def test_pseudo_labels_keep_the_sure_keypoints(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(PICTURE)
    sure = {
        "id": 1,
        "image_id": 1,
        "bbox": [0, 0, 9, 9],
        "keypoints": [4, 5, 1] * 17,
        "keypoint_scores": [0.9, 0.899, 1.0] + [0.5] * 14,
    }
    (person,) = read(tmp_path, coco(sure), format="pseudo")
    np.testing.assert_array_equal(np.flatnonzero(person.weights), [0, 2])
    np.testing.assert_array_equal(person.amplitudes[[0, 2]], 1)
    (person,) = read(tmp_path, coco(sure), format="pseudo", min_score=0.5)
    assert person.weights.all()
    with pytest.raises(DataError, match=r"Annotation 1 .* no 'keypoint_scores'"):
        read(tmp_path, coco({k: v for k, v in sure.items() if "scores" not in k}), format="pseudo")
    with pytest.raises(DataError, match=r"Annotation 1 .* malformed"):
        read(tmp_path, coco({**sure, "keypoint_scores": [1.0]}), format="pseudo")


def test_scores_that_are_no_number_are_unsure(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(PICTURE)
    scores = [math.nan, None, *[1.0] * 15]
    annotation = {"id": 1, "image_id": 1, "bbox": [1, 2, 30, 40], "keypoint_scores": scores}
    (person,) = read(tmp_path, coco({**annotation, "keypoints": [5, 6, 2] * 17}), format="pseudo")
    np.testing.assert_array_equal(person.weights, [0, 0, *[1] * 15])


def test_broken_coco_annotations_and_missing_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1.jpg").write_bytes(PICTURE)
    good = {"id": 5, "image_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [4, 5, 1] * 17}
    data = coco(
        good,
        {**good, "id": 6, "bbox": [0, 0, float("nan"), 9]},
        {**good, "id": 7, "image_id": 2},
        images=2,
    )
    with pytest.raises(DataError, match="first has id 2"):
        read(tmp_path, data)
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path, data, broken="skip")) == 1
    assert "Annotation 6" in caplog.text
    assert "id 2" in caplog.text


def test_small_people_are_left_out(tmp_path: Path) -> None:
    """Boxes of 30x40, 60x10 (80 high at 3:4) and 59x79 pixels."""
    (tmp_path / "1.jpg").write_bytes(PICTURE)
    boxes = [[0, 0, 30, 40], [5, 5, 60, 10], [0, 0, 59, 79]]
    keypoints = [1, 2, 2] * 17
    data = coco(
        *(
            {"id": i, "image_id": 1, "bbox": box, "keypoints": keypoints}
            for i, box in enumerate(boxes)
        )
    )
    found = [read(tmp_path, data, min_size=size) for size in (0, 40, 80, 81)]
    assert [[p.box[2:].tolist() for p in people] for people in found] == [
        [[30, 40], [65, 15], [59, 79]],
        [[30, 40], [65, 15], [59, 79]],
        [[65, 15]],
        [],
    ]


def test_folds_need_numbers(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(PICTURE)
    (tmp_path / "5.jpg").write_bytes(PICTURE)
    good = {"id": 5, "image_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [4, 5, 1] * 17}
    data = {
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 5, "file_name": "5.jpg"}],
        "annotations": [good, {**good, "image_id": 5}],
    }
    assert [p.image_id for p in read(tmp_path, data, fold="train", repeat=2)] == [1, 1]
    assert [p.image_id for p in read(tmp_path, data, fold="dev")] == [5]
    (tmp_path / f"{aic()['image_id']}.jpg").write_bytes(PICTURE)
    with pytest.raises(DataError, match="whole numbers"):
        read(tmp_path, [aic()], format="ai_challenger", fold="dev")


@pytest.mark.shared
def test_lsp_joints_by_name_are_those_of_the_coco_slots(shared: Path) -> None:
    data = shared / "data"
    by_name = people_from(DataSet("lsp/lsp.json", "lsp/images", format="lsp"), data, "refuse")
    slots = people_from(DataSet("lsp/lsp.json", "lsp/images"), data, "refuse")
    assert len(by_name) == len(slots) == 4301
    for a, b in zip(by_name, slots, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        labelled = a.weights > 0
        np.testing.assert_array_equal(a.keypoints[labelled], b.keypoints[labelled])


def test_unreadable_pictures_are_refused_or_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, grey in (("1", 50), ("2", 200)):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full((40, 30, 3), grey, np.uint8))
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])
    good = {"id": 5, "image_id": 1, "bbox": [0, 0, 30, 40], "keypoints": [4, 5, 1] * 17}
    people = read(tmp_path, coco(good, {**good, "image_id": 2}, images=2))
    still = Augmentation(flip=0, rotation=0, scale=0, half_body=0)
    view = View((24, 32), (6, 8), "udp", still)
    with pytest.raises(DataError, match="Image 1 is broken"):
        next(Loader(people, view, batch=4, seed=0).batches(0, 1))
    with caplog.at_level(logging.WARNING):
        batch = next(Loader(people, view, batch=4, seed=0, broken="skip").batches(0, 1))
    # Every crop shows the other picture; its centre is of that picture's grey.
    assert (batch.images[:, 16, 12].float() - 200).abs().max() < 3
    assert caplog.text.count("Image 1 is broken") == 1
    with pytest.raises(DataError, match="None of the images"):
        next(Loader(people[:1], view, batch=2, seed=0, broken="skip").batches(0, 1))
