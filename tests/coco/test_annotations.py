from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.coco.annotations import load_annotations, select_images, select_people
from pcr_rt.coco.record_images import image_size
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
    ("fields", "words"),
    [
        ({"bbox": None}, "it needs a 'bbox'"),
        ({"bbox": [0, 0, 1]}, "'bbox' must be 4 finite numbers"),
        ({"bbox": [0, 0, 1, float("nan")]}, "'bbox' must be 4 finite numbers"),
        ({"bbox": [0, 0, 1, 1e308]}, "'bbox' must be 4 finite numbers"),
        ({"bbox": [0, 0, 1, 10**400]}, "'bbox' must hold numbers"),
        ({"bbox": {"x": 1}}, "'bbox' must be a list"),
        ({"keypoints": [1, 2, 2] * 14}, "51 finite numbers"),
        ({"keypoints": [1, 2]}, "'keypoints' must be numbers x, y, v"),
        ({"keypoints": ["a"] * 51}, "'keypoints' must hold numbers"),
        ({"keypoints": [float("nan"), 1, 2] * 17}, "'keypoints' must be finite numbers"),
        ({"keypoints": 0}, "'keypoints' must be a list"),
        ({"area": "large"}, "'area' must hold numbers"),
        ({"area": []}, "'area' must be a number"),
        ({"iscrowd": []}, "'iscrowd' must be a number"),
        ({"iscrowd": 7}, "'iscrowd' must be 0 or 1"),
        ({"num_keypoints": -1}, "'num_keypoints' must be a count"),
        ({"num_keypoints": {}}, "'num_keypoints' must be a number"),
        ({"image_id": [1]}, "'image_id' must be a whole number or a string"),
        ({"category_id": {}}, "'category_id' must be a whole number or a string"),
    ],
)
def test_a_malformed_person_is_named(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    path = written(tmp_path, coco(person(**fields)))
    with pytest.raises(DataError) as error:
        select_people(load_annotations(path), {1})
    assert words in str(error.value)
    assert "labels.json: annotation 5" in str(error.value)
    assert len(str(error.value)) < 400
    with pytest.raises(DataError, match="record: annotation 5"):
        select_people(coco(person(**fields)), {1})


@pytest.mark.parametrize(
    ("part", "record", "words"),
    [
        ("images", {"id": None}, "image number 1 (from 0): 'id' is missing"),
        ("images", {"id": [2]}, "'id' must be a whole number"),
        ("images", {"id": 9, "width": "wide"}, "'width' must hold numbers"),
        ("images", {"id": 9, "file_name": 7}, "'file_name' must be a string"),
        ("categories", {"name": "person"}, "category 'person': 'id' is missing"),
        ("categories", {"id": {}}, "'id' must be a whole number"),
        ("categories", {"id": 1, "keypoints": 17}, "'keypoints' must be a list of names"),
        ("categories", {"id": 1, "keypoints": [1, 2]}, "'keypoints' must be a list of names"),
        ("categories", "a", "'categories' is ['a'], not a list of records"),
    ],
)
def test_malformed_images_and_categories_are_named(
    tmp_path: Path, part: str, record: Any, words: str
) -> None:
    data = coco(person())
    data[part] = [data["images"][0], record] if part == "images" else [record]
    with pytest.raises(DataError) as error:
        load_annotations(written(tmp_path, data))
    assert words in str(error.value)


def test_numbers_may_be_strings_and_what_nobody_labelled_anything(tmp_path: Path) -> None:
    nan = float("nan")
    odd = person(
        image_id="1",
        category_id="1",
        bbox=["0", "0", 10.0, "20"],
        keypoints=["1", "2", "2"] * 3 + [nan, None, 0] * 14,
        area="50.5",
        iscrowd="0",
        num_keypoints="3",
    )
    data = coco(odd, person(2, area=None, iscrowd=None, num_keypoints=None))
    data["images"] = [{"id": "0001", "width": "640", "height": 480.0}, {"id": 2, "width": 0}]
    loaded = load_annotations(written(tmp_path, data))
    assert [image["id"] for image in loaded["images"]] == [1, 2]
    assert [image_size(image) for image in loaded["images"]] == [(640, 480), None]
    first, second = select_people(loaded, {1, 2})
    assert first["bbox"] == [0, 0, 10, 20]
    assert first["keypoints"] == [1, 2, 2] * 3 + [0, 0, 0] * 14
    assert (first["area"], first["iscrowd"], first["num_keypoints"]) == (50.5, 0, 3)
    assert (second["area"], second["iscrowd"], second["num_keypoints"]) == (
        pytest.approx(106),
        0,
        3,
    )


@pytest.mark.parametrize("area", [0, -3, "0", None])
def test_an_area_of_0_is_one_that_is_not_known(area: Any, caplog: pytest.LogCaptureFixture) -> None:
    (found,) = select_people(coco(person(area=area)), {1})
    assert found["area"] == pytest.approx(106)
    assert "1 people have no area" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(json.dumps(coco(person())).encode(encoding))
    assert len(load_annotations(path)["annotations"]) == 1


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, '{"a": ' * 50_000])
def test_json_that_python_cannot_hold(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_annotations(written(tmp_path, text))


def test_a_lenient_reader_gets_malformed_people_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path, coco(person(), person(bbox=[1], id=6)))
    good, bad = load_annotations(path, lenient=True)["annotations"]
    assert good["bbox"] == [0, 0, 10, 20]
    assert bad["bbox"] == [1]


def test_other_skeletons_are_refused() -> None:
    swapped = [*KEYPOINTS[:15], KEYPOINTS[16], KEYPOINTS[15]]
    data = coco(person(), categories=[{"id": 1, "name": "person", "keypoints": swapped}])
    with pytest.raises(DataError, match="the 17 of coco17 in its order"):
        select_people(data, {1})


def category(number: int, name: str, keypoints: Any = None) -> dict[str, Any]:
    return {"id": number, "name": name} | ({} if keypoints is None else {"keypoints": keypoints})


@pytest.mark.parametrize(
    ("categories", "used", "people"),
    [
        # Roboflow writes a root of the same name, which has no annotations.
        ([category(0, "person"), category(1, "person", list(KEYPOINTS))], [1, 1], 2),
        ([category(0, "person"), category(1, "person")], [1, 1], 2),
        (
            [category(1, "person", list(KEYPOINTS)), category(2, "person", list(KEYPOINTS))],
            [1, 2],
            2,
        ),
        ([category(1, "adult", list(KEYPOINTS)), category(2, "child", list(KEYPOINTS))], [1, 2], 2),
        ([category(1, "adult", list(KEYPOINTS)), category(2, "bag")], [1, 2], 1),
        ([category(1, "person", list(KEYPOINTS)), category(2, "dog", ["tail"])], [1, 2], 1),
        ([category(1, "points", [])], [1, 1], 2),  # CVAT
        ([category(1, "human")], [1, 1], 2),
        ([category(1, "adult"), category(2, "child")], [1, 1], 2),
        ([], [1, 2], 2),
        (None, [1, 2], 2),
    ],
)
def test_which_categories_are_people(
    categories: Any, used: list[int], people: int, tmp_path: Path
) -> None:
    records = [person(category_id=number, area=1) for number in used]
    data = coco(*records, categories=categories)
    assert len(select_people(data, {1})) == people
    assert len(select_people(load_annotations(written(tmp_path, data)), {1})) == people


def test_the_category_of_people_must_be_clear(tmp_path: Path) -> None:
    both = [category(1, "adult"), category(2, "child")]
    data = coco(person(), person(category_id=2), categories=both)
    with pytest.raises(DataError, match=r"unclear .* --category \(adult, child\)"):
        select_people(data, {1})
    path = written(tmp_path, data)
    assert len(select_people(load_annotations(path, category="child"), {1})) == 1
    with pytest.raises(DataError, match="no category 'dog', its categories are: adult, child"):
        load_annotations(path, category="dog")
    other = [category(1, "adult", list(KEYPOINTS)), category(2, "child", list(KEYPOINTS[:3]))]
    with pytest.raises(DataError, match="different keypoints"):
        select_people(coco(person(), categories=other), {1})


def test_annotations_of_no_listed_category_are_counted() -> None:
    data = coco(person(category_id=7), person(category_id=7), categories=[category(1, "person")])
    with pytest.raises(DataError, match=r"category 1 \(person\) but hold 2 of category 7"):
        select_people(data, {1})
