"""COCO person-keypoint files: read, checked, and their people completed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcr_rt.coco.records import (
    ANNOTATION,
    CATEGORY,
    IDENTITIES,
    IMAGE,
    MAX_COORDINATE,
    check_record,
    identity,
    load_json,
    shown,
)
from pcr_rt.coco.whole_body import has_parts, whole_body, with_parts
from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17, Skeleton

__all__ = [
    "BOX_FILL",
    "Annotations",
    "check_annotations",
    "is_finite",
    "is_labelled",
    "is_person",
    "keypoint_names",
    "load_annotations",
    "people_categories",
    "person_category",
    "require_keypoints",
    "select_images",
    "select_people",
    "whole_bodies",
]

log = logging.getLogger(__name__)

BOX_FILL = 0.53
"""The share of its box that a person covers: the median over 1,580 masks of COCO 2017."""


_NOT_COCO = (
    "holds no COCO person keypoints: it needs the lists 'images' and 'annotations', and"
    " annotations with a 'keypoints' field"
)


class Annotations(dict[str, Any]):
    """A COCO file whose values `check_annotations` has looked at; name: what messages call it."""

    name: str = "The annotation record"


def load_annotations(
    path: str | Path,
    *,
    need_keypoints: bool = True,
    category: str | None = None,
    lenient: bool = False,
) -> Annotations:
    """Load a COCO person-keypoints file, checked as by ``check_annotations``.

    category: the name of the only category that counts. lenient: malformed annotations come as they
    are, for readers that skip such ones. Raises DataError if the file is
    missing, is not JSON, has no person keypoints (unless these are not needed), or is one that
    ``check_annotations`` refuses.
    """
    data = check_annotations(
        load_json(path, "annotation file"), str(path), category=category, lenient=lenient
    )
    if need_keypoints and not any("keypoints" in annotation for annotation in data["annotations"]):
        raise DataError(f"{path} {_NOT_COCO}.")
    return data


def check_annotations(
    data: Any, name: str, *, category: str | None = None, lenient: bool = False
) -> Annotations:
    """Check a parsed COCO file, which messages call ``name``; numbers may be strings.

    Image ids must be unique, every annotation must belong to a listed image, and where there are
    annotations some must be of people. ``data`` is not changed. Raises DataError that names file,
    record and field.
    """
    if isinstance(data, Annotations):
        return data
    if not isinstance(data, Mapping) or not all(
        isinstance(data.get(part), list) and all(isinstance(r, Mapping) for r in data[part])
        for part in ("images", "annotations")
    ):
        raise DataError(f"{name} {_NOT_COCO}.")
    result = Annotations(data)
    result.name = name
    result["images"] = _checked_images(data["images"], name)
    result["annotations"] = _with_ids(
        data["annotations"], {i["id"] for i in result["images"]}, name
    )
    result["categories"] = _checked_categories(data.get("categories"), name)
    if not result["categories"]:
        del result["categories"]
    if category is not None:
        _narrow(result, category)
    wanted = person_category(result)
    for number, annotation in enumerate(result["annotations"]):
        if is_person(annotation, wanted):
            where = f"{name}: annotation {_called(annotation, number)}"
            try:
                result["annotations"][number] = check_record(annotation, ANNOTATION, where)
            except DataError:
                if not lenient:
                    raise
    return result


def _called(record: Mapping[str, Any], number: int) -> str:
    key = record.get("id")
    return f"number {number} (from 0)" if key is None else shown(str(key))


def _checked_images(records: Sequence[Any], name: str) -> list[dict[str, Any]]:
    images: dict[int | str, dict[str, Any]] = {}
    for number, record in enumerate(records):
        image = check_record(record, IMAGE, f"{name}: image number {number} (from 0)", "id")
        if image["id"] in images:
            raise DataError(
                f"{name}: two images have the id {shown(str(image['id']))}; ids must be unique."
            )
        images[image["id"]] = image
    return list(images.values())


def _with_ids(
    records: Sequence[Any], images: Container[int | str], name: str
) -> list[dict[str, Any]]:
    annotations = []
    for number, record in enumerate(records):
        called = _called(record, number)
        annotation = check_record(record, IDENTITIES, f"{name}: annotation {called}")
        if annotation.get("image_id") not in images:
            raise DataError(
                f"{name}: annotation {called} belongs to image"
                f" {shown(str(annotation.get('image_id')))}, which"
                " 'images' does not list."
            )
        annotations.append(annotation)
    return annotations


def _checked_categories(records: Any, name: str) -> list[dict[str, Any]]:
    if records is None:
        return []
    if not isinstance(records, list) or not all(isinstance(r, Mapping) for r in records):
        raise DataError(f"{name}: 'categories' is {shown(repr(records))}, not a list of records.")
    return [
        check_record(record, CATEGORY, f"{name}: category {shown(repr(record.get('name')))}", "id")
        for record in records
    ]


def _narrow(data: Annotations, category: str) -> None:
    """Leave the one category in the file, with its annotations."""
    chosen = [c for c in data.get("categories", []) if c.get("name") == category]
    if not chosen:
        names = ", ".join(str(c.get("name")) for c in data.get("categories", [])) or "none"
        raise DataError(
            f"{data.name} has no category {category!r}, its categories are: {shown(names)}."
        )
    ids = {c["id"] for c in chosen}
    data["categories"] = chosen
    data["annotations"] = [a for a in data["annotations"] if a.get("category_id") in ids]


def select_images(
    annotations: Mapping[str, Any], image_ids: Sequence[int] | None = None
) -> dict[Any, Mapping[str, Any]]:
    """Select the image records with these ids, all when None, by id in the order of the file.

    Raises DataError for annotations that ``check_annotations`` refuses and for an unlisted id.
    """
    data = check_annotations(annotations, Annotations.name)
    images = {image["id"]: image for image in data["images"]}
    if image_ids is None:
        return images
    wanted = {identity(i) for i in image_ids}
    unknown = wanted - images.keys()
    if unknown:
        raise DataError(f"The annotations list no image with id {min(unknown, key=str)}.")
    return {key: image for key, image in images.items() if key in wanted}


def select_people(
    annotations: Mapping[str, Any], images: Container[Any], skeleton: Skeleton = COCO17
) -> list[dict[str, Any]]:
    """Select the people of these images as new records with every field that COCO's AP reads.

    Fills in ``keypoints`` (none labelled), ``iscrowd`` (0), ``num_keypoints`` (counted) and
    ``area`` (0.53 of the box, also for one of 0); ids are 1, 2, ... and ``category_id`` is 1. Other
    categories are left out; a file without categories holds people only. COCO-WholeBody's parts are
    joined for a skeleton that has them. Raises DataError for a
    malformed annotation, for keypoints that are not the skeleton's, and if it is
    unclear which categories are people.
    """
    checked = check_annotations(annotations, Annotations.name)
    data, name = whole_bodies(checked, checked.name, skeleton), checked.name
    category = person_category(data)
    require_keypoints(data, skeleton)
    people: list[dict[str, Any]] = []
    estimated = 0
    for number, annotation in enumerate(data["annotations"]):
        if annotation["image_id"] not in images or not is_person(annotation, category):
            continue
        box = annotation.get("bbox")
        keypoints = annotation.get("keypoints") or [0] * (3 * len(skeleton))
        if box is None or len(keypoints) != 3 * len(skeleton):
            raise DataError(
                f"{name}: annotation {_called(annotation, number)} is malformed, it needs a"
                f" 'bbox' of 4 and 'keypoints' of {3 * len(skeleton)} finite numbers."
            )
        count, area = annotation.get("num_keypoints"), annotation.get("area")
        if count is None:
            count = sum(visible > 0 for visible in keypoints[2::3])
        if area is None:
            estimated += 1
            area = BOX_FILL * box[2] * box[3]
        people.append(
            {
                "id": len(people) + 1,
                "image_id": annotation["image_id"],
                "category_id": 1,
                "bbox": list(box),
                "area": area,
                "iscrowd": annotation.get("iscrowd", 0),
                "keypoints": list(keypoints),
                "num_keypoints": count,
            }
        )
    if estimated:
        log.warning("%d people have no area: %s of their box is taken", estimated, BOX_FILL)
    return people


def whole_bodies(
    annotations: Mapping[str, Any], name: str, skeleton: Skeleton, *, lenient: bool = False
) -> Mapping[str, Any]:
    """Join COCO-WholeBody's feet, faces and hands to the bodies, if the skeleton has some of them.

    Other files, and COCO-WholeBody for a skeleton of the body alone, stay as they are. name: what
    messages call the file. Raises DataError for a malformed part; lenient: such ones stay.
    """
    records, whole = annotations["annotations"], whole_body()
    further = set(whole.keypoints[len(COCO17) :])
    people = frozenset(c["id"] for c in people_categories(annotations))
    if (
        not people
        or further.isdisjoint(skeleton.keypoints)
        or not any(map(has_parts, records))
        or keypoint_names(annotations) not in (None, list(COCO17.keypoints))
    ):
        return annotations

    def joined(number: int, record: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return with_parts(record, f"{name}: annotation {_called(record, number)}")
        except DataError:
            if lenient:
                return record
            raise

    return {
        **annotations,
        "annotations": [
            joined(number, record) if is_person(record, people) else record
            for number, record in enumerate(records)
        ],
        "categories": [
            {**c, "keypoints": list(whole.keypoints)} if c["id"] in people else c
            for c in annotations["categories"]
        ],
    }


def is_labelled(person: Mapping[str, Any]) -> bool:
    """Tell whether COCO's evaluation looks for this person of ``select_people``."""
    return bool(person["num_keypoints"] > 0 and not person["iscrowd"])


def is_finite(values: Any, size: int) -> bool:
    """Tell whether ``values`` are ``size`` numbers that may be pixels or scores."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return numbers.shape == (size,) and bool((np.abs(numbers) <= MAX_COORDINATE).all())


def people_categories(annotations: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The categories of people; none if the file names no categories.

    Those named ``person`` are, else all that carry keypoints, else the only one. Of several those
    without keypoints, and then those without annotations, do not count; nor does ``person`` if only
    another category has keypoints, and annotations with them: it is Label Studio's boxes. Raises
    DataError if it stays unclear.
    """
    categories: list[Mapping[str, Any]] = annotations.get("categories") or []
    named = [c for c in categories if c.get("name") == "person"]
    if any(c.get("keypoints") for c in categories) and not any(c.get("keypoints") for c in named):
        boxes = {c["id"] for c in named}
        posed = [a for a in annotations["annotations"] if a.get("keypoints")]
        if posed and not any(a.get("category_id") in boxes for a in posed):
            named = []
    people = named or categories
    with_keypoints = [c for c in people if c.get("keypoints")]
    people = with_keypoints or people
    if len(people) > 1 and not with_keypoints:
        used = {a.get("category_id") for a in annotations["annotations"]}
        people = [c for c in people if c["id"] in used] or people
        if len(people) > 1 and not named:
            choices = shown(", ".join(str(c.get("name")) for c in people))
            raise DataError(
                "It is unclear which category of the annotations is people: name it 'person', or"
                f" choose one with --category ({choices})."
            )
    return people


def person_category(annotations: Mapping[str, Any]) -> frozenset[Any] | None:
    """The ids of the categories of people; None if the file names no categories.

    Raises DataError if it is unclear which ones they are, or if there are annotations and none is
    of them.
    """
    people = people_categories(annotations)
    if not people:
        return None
    ids = frozenset(c["id"] for c in people)
    records = annotations["annotations"]
    if records and not any(is_person(record, ids) for record in records):
        counts = Counter(str(record.get("category_id")) for record in records)
        has = ", ".join(f"{n} of category {shown(key)}" for key, n in counts.most_common(5))
        names = shown(", ".join(f"{c['id']} ({c.get('name')})" for c in people))
        raise DataError(f"The annotations name the category {names} but hold {has}: mend the ids.")
    return ids


def keypoint_names(annotations: Mapping[str, Any]) -> list[str] | None:
    """The names of people's keypoints in their order; None if the file does not say.

    Raises DataError if its categories of people name different ones.
    """
    names = [c["keypoints"] for c in people_categories(annotations) if c.get("keypoints")]
    if any(other != names[0] for other in names):
        raise DataError(
            "The annotations' categories of people name different keypoints: choose one with"
            " --category."
        )
    return list(names[0]) if names else None


def require_keypoints(annotations: Mapping[str, Any], skeleton: Skeleton) -> None:
    """Raise DataError if the file names other keypoints of people than the skeleton's."""
    names = keypoint_names(annotations)
    if names is not None and tuple(names) != skeleton.keypoints:
        raise DataError(
            f"The annotations name the {len(names)} keypoints {shown(', '.join(names))}; the"
            f" model's are the {len(skeleton)} of {skeleton.name} in its order,"
            f" {', '.join(skeleton.keypoints[:3])} and so on."
        )


def is_person(annotation: Mapping[str, Any], category: frozenset[Any] | None) -> bool:
    """Tell whether an annotation is of people's categories; of None, and without one, it is."""
    if category is None or annotation.get("category_id") is None:
        return True
    return annotation["category_id"] in category
