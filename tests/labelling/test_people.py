"""A teacher's keypoints as labels: a model that finds a blob labels the blob."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from PIL import Image

from pcr_rt import PoseEstimator
from pcr_rt.errors import DataError, InputError
from pcr_rt.labelling.people import label_people, merge
from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import KEYPOINTS, Skeleton
from pcr_rt.training.data.coco import read_people
from toys import PLAIN, blob_frame, brightness_model, save

BLOB = (84.3, 77.6)
BOX = [60, 40, 60, 80]  # xywh
NOSE, HIP, ANKLE = map(KEYPOINTS.index, ("nose", "left_hip", "left_ankle"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> PoseEstimator:
    """All keypoints on the brightest red; keypoint k with the score red x (k + 1) / 17."""
    path = tmp_path_factory.mktemp("teacher") / "toy.onnx"
    brightness_model(path, ModelSpec("toy", "heatmap", (48, 64), **PLAIN))
    return PoseEstimator(path, detector=None, score_threshold=0, nms=None)


def person(number: int, image_id: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": BOX,
        "area": 2400,
        "keypoints": [0, 0, 0] * 17,
        "num_keypoints": 0,
        **fields,
    }


def write(folder: Path, *people: dict[str, Any], **parts: Any) -> Path:
    """Image 1 shows a bright blob, image 2 a dim one."""
    save(folder / "1.png", blob_frame((200, 160), BLOB, peak=250))
    save(folder / "2.png", blob_frame((200, 160), BLOB, peak=140))
    images = [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 160} for i in (1, 2)]
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    data = {"images": images, "annotations": list(people), "categories": categories, **parts}
    path = folder / "labels.json"
    path.write_text(json.dumps(data))
    return path


DOG = 18


def label(teacher: PoseEstimator, path: Path, rule: Any = "teacher") -> list[dict[str, Any]]:
    output = path.with_name("out.json")
    count = label_people(teacher, path, path.parent, output, rule=rule)
    written = json.loads(output.read_text())
    assert count == len(written["annotations"])
    given = json.loads(path.read_text())
    for image, before in zip(written["images"], given["images"], strict=True):
        people = [a for a in given["annotations"] if a.get("category_id") != DOG]
        of_it = [a for a in people if a["image_id"] == before["id"]]
        kept = [a for a in written["annotations"] if a["image_id"] == before["id"]]
        lost = {} if len(of_it) == len(kept) else {"boxes_complete": False}
        assert image == {**before, **lost}
    return list(written["annotations"])


def test_the_teachers_keypoints_and_scores_are_written(
    teacher: PoseEstimator, tmp_path: Path
) -> None:
    path = write(tmp_path, person(3, 1))
    (found,) = label(teacher, path)
    keypoints = np.array(found["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(keypoints[:, :2], np.tile(BLOB, (17, 1)), atol=0.1)
    assert found["num_keypoints"] == 17
    np.testing.assert_allclose(
        found["keypoint_scores"], np.arange(1, 18) / 17 * 250 / 255, rtol=0.05
    )
    assert (found["id"], found["bbox"]) == (3, BOX)
    (learnt,) = read_people(path.with_name("out.json"), tmp_path)
    np.testing.assert_allclose(learnt.amplitudes, found["keypoint_scores"])
    np.testing.assert_allclose(learnt.keypoints, keypoints[:, :2])
    np.testing.assert_array_equal(learnt.weights, 1)


def test_unsure_people_crowds_and_dogs_are_left_out(teacher: PoseEstimator, tmp_path: Path) -> None:
    """Of the dim blob's scores k / 17 x 140 / 255 only those from k = 16 on are above 0.5."""
    people = [
        person(1, 1),
        person(2, 2),
        person(3, 1, iscrowd=1),
        person(4, 1, category_id=DOG),
        person(5, 1, bbox=[10, 10, 0, 20]),
        person(6, 1),
    ]
    assert [p["id"] for p in label(teacher, write(tmp_path, *people))] == [1, 6]
    # With labels made by hand the unsure stay, since the labels count.
    kept = label(teacher, write(tmp_path, *people), "labels-first")
    assert [p["id"] for p in kept] == [1, 6, 2]


def test_an_image_that_lost_a_dog_alone_is_complete(teacher: PoseEstimator, tmp_path: Path) -> None:
    label(teacher, write(tmp_path, person(1, 1), person(2, 1, category_id=DOG)))
    image, *_ = json.loads((tmp_path / "out.json").read_text())["images"]
    assert "boxes_complete" not in image


def test_boxes_without_keypoints_are_enough(teacher: PoseEstimator, tmp_path: Path) -> None:
    bare = {"id": 1, "image_id": 1, "bbox": BOX}
    for rule in ("teacher", "labels-first", "agreement"):
        (found,) = label(teacher, write(tmp_path, bare, categories=[]), rule)
        assert found["num_keypoints"] == 17


def test_labels_made_by_hand_come_first(teacher: PoseEstimator, tmp_path: Path) -> None:
    keypoints = [0, 0, 0] * 17
    keypoints[3 * NOSE : 3 * NOSE + 3] = [12, 34, 1]
    (found,) = label(teacher, write(tmp_path, person(1, 1, keypoints=keypoints)), "labels-first")
    assert found["keypoints"][3 * NOSE : 3 * NOSE + 3] == [12, 34, 2]
    assert found["keypoint_scores"][NOSE] == 1
    assert found["keypoints"][3 * ANKLE] == pytest.approx(BLOB[0], abs=0.1)
    assert found["keypoint_scores"][ANKLE] == pytest.approx(16 / 17 * 250 / 255, rel=0.05)
    assert found["num_keypoints"] == 17


def agree(labels: np.ndarray, area: float = 1000.0) -> tuple[np.ndarray, np.ndarray]:
    """The rule on a teacher who sees everything at (50, 50) with score 0.4."""
    annotation = {"keypoints": labels.ravel().tolist(), "area": area, "bbox": [0, 0, 90, 90]}
    return merge(annotation, np.full((17, 2), 50.0), np.full(17, 0.4), "agreement")


def test_agreement_by_hand() -> None:
    """The nose's sigma is 0.026: similarity is 0.5 at d^2 = ln 2 x 2 x 1000 x 0.052^2."""
    limit = math.sqrt(math.log(2) * 2 * 1000 * 0.052**2)
    assert limit == pytest.approx(1.936, abs=1e-3)
    for distance, agreed in ((limit - 0.01, True), (limit + 0.01, False)):
        labels = np.tile([50.0, 50.0, 2.0], (17, 1))
        labels[NOSE, 0] += distance
        labels[ANKLE, 2] = 0  # not labelled
        keypoints, amplitudes = agree(labels)
        assert keypoints[NOSE].tolist() == ([50 + distance, 50, 2] if agreed else [50, 50, 0])
        assert amplitudes[NOSE] == (1 if agreed else 0.4)
        # Fifteen or sixteen of sixteen labels agree, so the teacher fills in the ankle.
        assert keypoints[ANKLE].tolist() == [50, 50, 1]
        # The hips' place is the teacher's, however well the label agrees.
        assert (keypoints[HIP, 2], amplitudes[HIP]) == (1, 0.4)


@pytest.mark.parametrize(("agreeing", "filled"), [(7, True), (6, False)])
def test_the_teacher_fills_in_where_seven_of_ten_labels_agree(agreeing: int, filled: bool) -> None:
    labels = np.zeros((17, 3))
    labels[:10] = [50, 50, 2]
    labels[agreeing:10, 0] = 80
    keypoints, _ = agree(labels)
    assert (keypoints[:agreeing, 2] == 2).all()
    assert (keypoints[agreeing:10, 2] == 0).all()
    assert (keypoints[10:, 2] == filled).all()


def test_agreement_takes_a_missing_area_from_the_box() -> None:
    """0.53 x 100 x 20 = 1060: the nose's limit is at 1.99 px."""
    labels = np.tile([50.0, 50.0, 2.0], (17, 1))
    limit = math.sqrt(math.log(2) * 2 * 1060 * 0.052**2)
    for distance, agreed in ((limit - 0.01, True), (limit + 0.01, False)):
        labels[NOSE, 0] = 50 + distance
        annotation = {"keypoints": labels.ravel().tolist(), "bbox": [0, 0, 100, 20]}
        keypoints, _ = merge(annotation, np.full((17, 2), 50.0), np.full(17, 0.4), "agreement")
        assert (keypoints[NOSE, 2] == 2) == agreed


@pytest.fixture(scope="module")
def feet(tmp_path_factory: pytest.TempPathFactory) -> PoseEstimator:
    """A teacher of COCO's ankles and two toes; keypoint k of 4 with the score red x (k + 1) / 4."""
    names = ("left_toe", "right_toe", "left_ankle", "right_ankle")
    skeleton = Skeleton("feet", names, (("left_toe", "left_ankle"),), sigmas=(0.05,) * 4)
    path = tmp_path_factory.mktemp("feet") / "feet.onnx"
    brightness_model(
        path, ModelSpec("feet", "heatmap", (48, 64), skeleton=skeleton, **PLAIN), joints=4
    )
    return PoseEstimator(path, detector=None, score_threshold=0, nms=None)


@pytest.mark.parametrize("categories", [[], [{"id": 7, "name": "person", "keypoints": ["nose"]}]])
def test_the_teachers_keypoints_become_the_files(
    feet: PoseEstimator, tmp_path: Path, categories: list[dict[str, Any]]
) -> None:
    given = person(1, 1) if categories else {"id": 1, "image_id": 1, "bbox": BOX}
    path = write(
        tmp_path, given | ({"category_id": 7} if categories else {}), categories=categories
    )
    assert label_people(feet, path, tmp_path, tmp_path / "out.json") == 1
    data = json.loads((tmp_path / "out.json").read_text())
    (category,), (found,) = data["categories"], data["annotations"]
    assert category["keypoints"] == ["left_toe", "right_toe", "left_ankle", "right_ankle"]
    assert category["skeleton"] == [[1, 3]]
    assert found["category_id"] == category["id"]
    np.testing.assert_allclose(np.reshape(found["keypoints"], (4, 3)), [[*BLOB, 1]] * 4, atol=0.1)
    assert found["num_keypoints"] == len(found["keypoint_scores"]) == 4


def test_a_teacher_of_other_keypoints_is_joined_by_name(
    feet: PoseEstimator, tmp_path: Path
) -> None:
    keypoints = [0, 0, 0] * 17
    keypoints[3 * NOSE : 3 * NOSE + 3] = [12, 34, 1]
    category = {"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}
    path = write(tmp_path, person(1, 1, keypoints=keypoints), categories=[category])
    assert label_people(feet, path, tmp_path, tmp_path / "out.json", rule="labels-first") == 1
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["categories"] == [category]
    (found,) = data["annotations"]
    merged = np.reshape(found["keypoints"], (17, 3))
    assert merged[NOSE].tolist() == [12, 34, 2]
    # The left ankle is the teacher's third of four, the right one its fourth.
    np.testing.assert_allclose(merged[ANKLE], [*BLOB, 1], atol=0.1)
    assert np.flatnonzero(merged[:, 2]).tolist() == [NOSE, ANKLE, ANKLE + 1]
    scores = np.array(found["keypoint_scores"])
    np.testing.assert_allclose(scores[[ANKLE, ANKLE + 1]], [0.75 * 250 / 255, 250 / 255], rtol=0.05)
    assert np.flatnonzero(scores).tolist() == [NOSE, ANKLE, ANKLE + 1]
    hands = {"id": 1, "name": "hand", "keypoints": ["wrist", "thumb"]}
    path = write(tmp_path, person(1, 1, keypoints=[1, 2, 2, 3, 4, 2]), categories=[hands])
    with pytest.raises(DataError, match="its names are wrist, thumb; the teacher's are left_toe"):
        label_people(feet, path, tmp_path, tmp_path / "out.json", rule="labels-first")


def test_what_the_teacher_does_not_know_is_trusted_with_the_person() -> None:
    """Two of three judged labels agree with the teacher, or all three of them."""
    names = ("a", "b", "c", "tail", "beak")
    known = np.array([True, True, True, False, False])
    teacher = np.full((5, 2), 50.0)
    for distance, trusted in ((30, False), (0, True)):
        labels = np.array([[50.0, 50, 2]] * 3 + [[9, 8, 2], [0, 0, 0]])
        labels[2, 0] += distance
        annotation = {"keypoints": labels.ravel().tolist(), "area": 1000, "bbox": [0, 0, 90, 90]}
        options: dict[str, Any] = {"names": names, "known": known, "sigmas": np.full(5, 0.05)}
        keypoints, amplitudes = merge(annotation, teacher, np.full(5, 0.4), "agreement", **options)
        assert keypoints[3].tolist() == ([9, 8, 2] if trusted else [0, 0, 0])
        assert amplitudes.tolist() == [1, 1, 1 if trusted else 0.4, int(trusted), 0]
        assert keypoints[4].tolist() == [0, 0, 0]


def test_what_cannot_be_labelled_is_named(teacher: PoseEstimator, tmp_path: Path) -> None:
    def fails(error: type[Exception], words: str, path: Path) -> None:
        with pytest.raises(error, match=words):
            label(teacher, path)
        assert not (tmp_path / "out.json").exists()

    fails(DataError, "box outside", write(tmp_path, person(1, 1, bbox=[300, 10, 20, 20])))
    fails(DataError, "4 finite", write(tmp_path, person(9, 1, bbox=[300, 10, 20])))
    path = write(tmp_path, person(1, 1))
    (tmp_path / "1.png").unlink()
    fails(InputError, r"1\.png", path)


def test_progress_counts_the_images_with_people(teacher: PoseEstimator, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = write(tmp_path, person(1, 1), person(2, 1), person(3, 2))
    label_people(
        teacher,
        path,
        tmp_path,
        tmp_path / "out.json",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]


def test_boxes_of_images_that_were_not_turned(teacher: PoseEstimator, tmp_path: Path) -> None:
    path = write(tmp_path, person(1, 1))
    data = json.loads(path.read_text())
    image = tmp_path / data["images"][0]["file_name"]
    with Image.open(image) as plain:
        exif = plain.getexif()
        exif[0x0112] = 6
        plain.save(image, exif=exif)
        data["images"][0] |= {"width": plain.width, "height": plain.height}
    path.write_text(json.dumps(data))
    output = tmp_path / "out.json"
    with pytest.raises(InputError, match="EXIF orientation turned it, so give --ignore-exif"):
        label_people(teacher, path, tmp_path, output)
    assert label_people(teacher, path, tmp_path, output, ignore_exif=True) == 1
