from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.coco.annotations import load_annotations, select_images, select_people
from pcr_rt.errors import DataError
from pcr_rt.skeleton import KEYPOINTS


def person(image_id: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": 5,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [0, 0, 10, 20],
        "keypoints": [1, 2, 2] * 3 + [0, 0, 0] * 14,
        **fields,
    }


def coco(*annotations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"images": [{"id": 1}, {"id": 2}], "annotations": list(annotations), **fields}


def written(folder: Path, content: Any) -> Path:
    path = folder / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_good_file_is_returned_as_it_is(tmp_path: Path) -> None:
    data = coco(person(), info={"year": 2017})
    assert load_annotations(written(tmp_path, data)) == data


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json does not exist"):
        load_annotations(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["", "{", "images: 3"])
def test_a_file_that_is_not_json(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"labels\.json cannot be read as JSON"):
        load_annotations(written(tmp_path, text))


def test_a_folder_and_a_binary_file_are_not_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_annotations(tmp_path)
    path = tmp_path / "labels.json"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_annotations(path)


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"images": []},
        {"images": {}, "annotations": []},
        {"images": [1], "annotations": []},
        coco({"id": 1, "image_id": 1, "bbox": [0, 0, 1, 1]}),
    ],
)
def test_a_file_without_person_keypoints(tmp_path: Path, data: Any) -> None:
    with pytest.raises(DataError, match="holds no COCO person keypoints"):
        load_annotations(written(tmp_path, data))


def test_contradictions_are_named_by_id(tmp_path: Path) -> None:
    twice = coco(person())
    twice["images"].append({"id": 2})
    with pytest.raises(DataError, match="two images have the id 2"):
        load_annotations(written(tmp_path, twice))
    with pytest.raises(DataError, match="annotation 77 belongs to image 9"):
        load_annotations(written(tmp_path, coco(person(), person(9, id=77), person(8, id=78))))
    with pytest.raises(DataError, match="image number 0 "):
        load_annotations(written(tmp_path, {"images": [{}], "annotations": [person()]}))


def test_images_are_selected_in_the_order_of_the_file() -> None:
    data = {"images": [{"id": 9}, {"id": 3}, {"id": 5}], "annotations": []}
    assert list(select_images(data)) == [9, 3, 5]
    assert list(select_images(data, [5, 9])) == [9, 5]
    assert list(select_images(data, [])) == []
    with pytest.raises(DataError, match="no image with id 4"):
        select_images(data, [3, 4])


def test_missing_fields_of_a_person_are_filled_in(caplog: pytest.LogCaptureFixture) -> None:
    bare = person()
    del bare["category_id"]
    (found,) = select_people(coco(bare), {1})
    assert found["num_keypoints"] == 3
    assert found["iscrowd"] == 0
    assert found["area"] == pytest.approx(106)  # 0.53 of 10 x 20
    assert "1 people have no area" in caplog.text
    (unlabelled,) = select_people(coco({"id": 1, "image_id": 1, "bbox": [0, 0, 1, 1]}), {1})
    assert unlabelled["num_keypoints"] == 0
    assert unlabelled["keypoints"] == [0] * 51


def test_given_fields_of_a_person_are_kept() -> None:
    (found,) = select_people(coco(person(area=50.5, iscrowd=1, num_keypoints=0)), {1})
    assert (found["area"], found["iscrowd"], found["num_keypoints"]) == (50.5, 1, 0)


def test_only_people_of_the_images_are_selected() -> None:
    categories = [{"id": 3, "name": "person"}, {"id": 4, "name": "dog"}]
    data = coco(
        person(category_id=3, area=1.0),
        person(category_id=4, area=2.0),
        person(2, category_id=3, area=3.0),
        categories=categories,
    )
    assert [p["area"] for p in select_people(data, {1})] == [1]
    assert [p["area"] for p in select_people(data, {1, 2})] == [1, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"bbox": None},
        {"bbox": [0, 0, 1]},
        {"bbox": [0, 0, 1, float("nan")]},
        {"keypoints": [1, 2, 2] * 14},
        {"keypoints": ["a"] * 51},
        {"area": "large"},
    ],
)
def test_a_malformed_person_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="Annotation 5 is malformed"):
        select_people(coco(person(**fields)), {1})


def test_other_skeletons_are_refused() -> None:
    swapped = [*KEYPOINTS[:15], KEYPOINTS[16], KEYPOINTS[15]]
    data = coco(person(), categories=[{"id": 1, "name": "person", "keypoints": swapped}])
    with pytest.raises(DataError, match="its own 17 in its order"):
        select_people(data, {1})


def test_the_category_of_people_must_be_clear() -> None:
    two = [{"id": 1, "name": "adult"}, {"id": 2, "name": "child"}]
    with pytest.raises(DataError, match="which category"):
        select_people(coco(person(), categories=two), {1})
    one = [{"id": 1, "name": "human"}]
    assert len(select_people(coco(person(area=1), categories=one), {1})) == 1
