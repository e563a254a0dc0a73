from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from label_files import IMAGE, coco, read
from pcr_rt.errors import DataError, InputError
from pcr_rt.skeleton import KEYPOINTS, Skeleton
from pcr_rt.training.data.coco import category_skeleton, read_people


def person(**change: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [10, 20, 30, 40],
        "area": 600,
        "keypoints": [5, 6, 2] * 17,
        **change,
    }


def write(folder: Path, *people: dict[str, Any], names: list[str] | None = None) -> Path:
    categories = [{"id": 1, "name": "person", "keypoints": names}] if names else []
    data = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}],
        "annotations": list(people),
        "categories": categories,
    }
    (folder / "a.jpg").write_bytes(b"not read here")
    path = folder / "labels.json"
    path.write_text(json.dumps(data))
    return path


def test_labels_become_targets(tmp_path: Path) -> None:
    label = [5, 6, 2] * 16 + [0, 0, 0]
    (found,) = read_people(write(tmp_path, person(keypoints=label)), tmp_path, weight=0.5)
    np.testing.assert_array_equal(found.box, [10, 20, 40, 60])
    np.testing.assert_array_equal(found.weights, [0.5] * 16 + [0])
    np.testing.assert_array_equal(found.amplitudes, 1)
    assert found.image == tmp_path / "a.jpg"


def test_scores_of_a_teacher_become_amplitudes(tmp_path: Path) -> None:
    scores = np.linspace(0.1, 0.9, 17)
    path = write(tmp_path, person(keypoint_scores=scores.tolist()))
    (found,) = read_people(path, tmp_path)
    np.testing.assert_allclose(found.amplitudes, scores)


def test_other_skeletons_are_joined_by_name(tmp_path: Path) -> None:
    names = ["neck", "right_ankle", "nose"]
    path = write(tmp_path, person(keypoints=[1, 1, 2, 2, 3, 2, 4, 5, 1]), names=names)
    (found,) = read_people(path, tmp_path)
    assert np.flatnonzero(found.weights).tolist() == [0, KEYPOINTS.index("right_ankle")]
    np.testing.assert_array_equal(found.keypoints[[0, 16]], [[4, 5], [2, 3]])


def test_crowds_and_the_unlabelled_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, person(iscrowd=1), person(id=8, keypoints=[0] * 51), person(id=9))
    assert len(read_people(path, tmp_path)) == 1
    assert not read_people(path, tmp_path, min_keypoints=18)


def test_other_categories_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, person(category_id=1), person(id=8, category_id=2))
    data = json.loads(path.read_text())
    dog = {"id": 2, "name": "dog", "keypoints": ["tail", *KEYPOINTS[1:]]}
    data["categories"] = [dog, {"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}]
    path.write_text(json.dumps(data))
    (found,) = read_people(path, tmp_path)
    np.testing.assert_array_equal(found.weights, 1)


def test_malformed_annotation_and_missing_image_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, person(keypoints=[1, 2, 2]), person(id=8))
    with pytest.raises(DataError, match="7"):
        read_people(path, tmp_path)
    path = write(tmp_path, person())
    with pytest.raises(DataError, match="id 1"):
        read_people(path, tmp_path / "elsewhere")


def test_crowdpose_joints_without_names(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(IMAGE)
    keypoints = [value for i in range(14) for value in (i, i, 2)]
    data = coco({"id": 1, "image_id": 1, "bbox": [0, 0, 9, 9], "keypoints": keypoints})
    (person,) = read(tmp_path, data, format="crowdpose")
    # CrowdPose lists shoulders to ankles as COCO does, left before right, without a face.
    np.testing.assert_array_equal(person.weights, [0] * 5 + [1] * 12)
    np.testing.assert_array_equal(person.keypoints[5:, 0], np.arange(12))


def test_broken_coco_annotations_and_missing_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1.jpg").write_bytes(IMAGE)
    good = {"id": 5, "image_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [4, 5, 1] * 17}
    data = coco(
        good,
        {**good, "id": 6, "bbox": [0, 0, float("nan"), 9]},
        {**good, "id": 7, "image_id": 2},
        images=2,
    )
    with pytest.raises(
        DataError, match="annotation 6 is malformed: 'bbox' must be 4 finite numbers"
    ):
        read(tmp_path, data)
    missing = {**data, "annotations": [good, data["annotations"][2]]}
    with pytest.raises(DataError, match="first has id 2"):
        read(tmp_path, missing)
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path, data, broken="skip")) == 1
    assert "Annotation 6" in caplog.text
    assert "id 2" in caplog.text


ARROW = Skeleton("arrow", ("tip", "left_wing", "right_wing", "tail"), category="arrow")


def test_sets_of_other_skeletons_join_by_name(tmp_path: Path) -> None:
    """The file's order is tail, nose, tip; what it lacks has weight 0."""
    labels = person(keypoints=[1, 2, 2, 3, 4, 2, 5, 6, 1])
    path = write(tmp_path, labels, names=["tail", "nose", "tip"])
    (found,) = read_people(path, tmp_path, skeleton=ARROW)
    assert found.keypoints.tolist() == [[5, 6], [0, 0], [0, 0], [1, 2]]
    assert found.weights.tolist() == [1, 0, 0, 1]
    with pytest.raises(DataError, match=r"'arrow'.* are nose, tail0; the skeleton's are tip, left"):
        read_people(
            write(tmp_path, person(keypoints=[1, 2, 2] * 2), names=["nose", "tail0"]),
            tmp_path,
            skeleton=ARROW,
        )


def test_the_skeleton_of_a_category() -> None:
    category = {"id": 3, "name": "arrow", "keypoints": ["tip", "left_wing", "right_wing", "tail"]}
    data: dict[str, Any] = {"images": [], "annotations": [], "categories": [category]}
    assert category_skeleton(data, Path("a.json")) == ARROW
    links = {**category, "skeleton": [[1, 4], [2, 1]]}
    found = category_skeleton({**data, "categories": [links]}, Path("a.json"))
    assert found is not None
    assert found.limbs == (("tip", "tail"), ("left_wing", "tip"))
    assert found.flip.tolist() == [0, 2, 1, 3]
    people = {"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}
    shipped = category_skeleton({**data, "categories": [people]}, Path("a.json"))
    assert shipped == Skeleton.load("coco17")
    assert category_skeleton({**data, "categories": []}, Path("a.json")) is None
    for wrong in ([[0, 1]], [[1, 5]], [[1]], ["tip"], [1]):
        with pytest.raises(DataError, match=r"a\.json: 'skeleton' .* numbers from 1 to 4"):
            category_skeleton(
                {**data, "categories": [{**category, "skeleton": wrong}]}, Path("a.json")
            )
    doubled = {**category, "keypoints": ["tip", "tip"]}
    with pytest.raises(InputError, match="'tip' twice"):
        category_skeleton({**data, "categories": [doubled]}, Path("a.json"))


def test_parts_of_whole_bodies_are_learnt(tmp_path: Path) -> None:
    """COCO-WholeBody has feet, face and hands in fields of their own."""
    parts = {"foot_kpts": [1, 2, 2] * 5 + [0, 0, 0], "foot_valid": True, "face_kpts": [0] * 204}
    path = write(tmp_path, person(**parts), names=list(KEYPOINTS))
    (found,) = read_people(path, tmp_path, skeleton=Skeleton.load("coco_wholebody133"))
    assert np.flatnonzero(found.weights).tolist() == list(range(17 + 5))
    assert found.keypoints[17].tolist() == [1, 2]
    halpe = Skeleton.load("halpe26")
    (found,) = read_people(path, tmp_path, skeleton=halpe)  # joined by name
    seen = {halpe.keypoints[i] for i in np.flatnonzero(found.weights)}
    toes = {"left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe"}
    assert seen == {*KEYPOINTS, *toes}
    (found,) = read_people(path, tmp_path)
    assert found.weights.sum() == 17
    bad = write(tmp_path, person(id=3, foot_kpts=[1, 2, 2]), person(), names=list(KEYPOINTS))
    with pytest.raises(DataError, match=r"annotation 3 .* 'foot_kpts' has 3 numbers"):
        read_people(bad, tmp_path, skeleton=halpe)
    assert len(read_people(bad, tmp_path, skeleton=halpe, broken="skip")) == 1
