"""COCO person-keypoint files: read, checked, and their people completed."""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import DataError, InputError
from pcr_rt.geometry import Size
from pcr_rt.media import read_image
from pcr_rt.skeleton import KEYPOINTS, NUM_KEYPOINTS

__all__ = [
    "BOX_FILL",
    "category_of_people",
    "check_annotations",
    "is_finite",
    "is_labelled",
    "is_person",
    "load_annotations",
    "person_category",
    "picture_path",
    "picture_size",
    "read_labelled",
    "read_picture",
    "select_images",
    "select_people",
]

log = logging.getLogger(__name__)

BOX_FILL = 0.53
"""The share of its box that a person covers: the median over 1,580 masks of COCO 2017."""

_NOT_COCO = (
    "holds no COCO person keypoints: it needs the lists 'images' and 'annotations', and"
    " annotations with a 'keypoints' field"
)


def load_annotations(path: str | Path, *, need_keypoints: bool = True) -> dict[str, Any]:
    """The parsed COCO person-keypoints file.

    Raises DataError when the file is missing, is not JSON, has no person keypoints (unless these
    are not needed), or is one that ``check_annotations`` refuses.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"The annotation file {path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"The annotation file {path} cannot be read as JSON: {error}.") from None
    check_annotations(data, str(path))
    if need_keypoints and not any("keypoints" in annotation for annotation in data["annotations"]):
        raise DataError(f"{path} {_NOT_COCO}.")
    return dict(data)


def check_annotations(data: Any, name: str) -> None:
    """DataError, which speaks of ``name``, where ``data`` contradicts COCO's structure.

    Image ids must be unique, and every annotation must belong to a listed image.
    """
    if not isinstance(data, Mapping) or not all(
        isinstance(data.get(part), list) and all(isinstance(r, Mapping) for r in data[part])
        for part in ("images", "annotations")
    ):
        raise DataError(f"{name} {_NOT_COCO}.")
    images: set[int | str] = set()
    for number, image in enumerate(data["images"]):
        key = image.get("id")
        if not isinstance(key, int | str):
            raise DataError(f"{name}: image number {number} (from 0) has no usable 'id'.")
        if key in images:
            raise DataError(f"{name}: two images have the id {key}; ids must be unique.")
        images.add(key)
    for number, annotation in enumerate(data["annotations"]):
        key = annotation.get("image_id")
        if not isinstance(key, int | str) or key not in images:
            raise DataError(
                f"{name}: annotation {annotation.get('id', f'number {number} (from 0)')} belongs"
                f" to image {key}, which 'images' does not list."
            )


def select_images(
    annotations: Mapping[str, Any], image_ids: Sequence[int] | None = None
) -> dict[Any, Mapping[str, Any]]:
    """The image records with these ids, all when None, by id in the order of the file.

    Raises DataError for annotations that ``check_annotations`` refuses and for an unlisted id.
    """
    check_annotations(annotations, "The annotation record")
    images = {image["id"]: image for image in annotations["images"]}
    if image_ids is None:
        return images
    wanted = set(image_ids)
    unknown = [i for i in image_ids if i not in images]
    if unknown:
        raise DataError(f"The annotations list no image with id {unknown[0]}.")
    return {key: image for key, image in images.items() if key in wanted}


def picture_path(folder: Path, image: Mapping[str, Any]) -> Path:
    """Where the picture of an image record lies; DataError for a record that does not say."""
    name = image.get("file_name")
    if not isinstance(name, str):
        raise DataError(f"The image with id {image.get('id')} has no 'file_name': add it.")
    return folder / name


def picture_size(image: Mapping[str, Any]) -> Size | None:
    """(width, height) that an image record says; None where it does not."""
    width, height = image.get("width"), image.get("height")
    return (width, height) if width and height else None


def read_labelled(path: Path, size: Size | None) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 BGR whose labels are for one of ``size``, (width, height).

    Raises InputError as ``read_image`` does, and where it has another size: labels in pixels of
    another copy fit nobody.
    """
    picture = read_image(path)
    height, width = picture.shape[:2]
    if size is not None and size != (width, height):
        raise InputError(
            f"The picture {path} has {width}x{height} pixels, its annotations are for"
            f" {size[0]}x{size[1]}: give the pictures that were labelled."
        )
    return picture


def read_picture(folder: Path, image: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The picture of an image record; raises what ``read_labelled`` does."""
    return read_labelled(picture_path(folder, image), picture_size(image))


def select_people(annotations: Mapping[str, Any], images: Container[Any]) -> list[dict[str, Any]]:
    """The people of these images, as new records with every field that COCO's evaluation reads.

    Fills in ``keypoints`` (none labelled), ``iscrowd`` (0), ``num_keypoints`` (counted) and
    ``area`` (0.53 of the box); ids are 1, 2, ... and ``category_id`` is 1. Other categories are
    left out; a file without categories holds people only. Raises DataError for a malformed
    annotation, for keypoints that are not COCO's 17, and where no category is that of people.
    """
    category = person_category(annotations)
    people: list[dict[str, Any]] = []
    estimated = 0
    for annotation in annotations["annotations"]:
        if not is_person(annotation, category):
            continue
        if annotation["image_id"] not in images:
            continue
        box = annotation.get("bbox")
        keypoints = annotation.get("keypoints") or [0] * (3 * NUM_KEYPOINTS)
        if not (is_finite(box, 4) and is_finite(keypoints, 3 * NUM_KEYPOINTS)):
            raise DataError(
                f"Annotation {annotation.get('id')} is malformed: it needs a 'bbox' of 4 and"
                f" 'keypoints' of {3 * NUM_KEYPOINTS} finite numbers."
            )
        count, area = annotation.get("num_keypoints"), annotation.get("area")
        if count is None:
            count = sum(visible > 0 for visible in keypoints[2::3])
        if area is None:
            estimated += 1
            area = BOX_FILL * box[2] * box[3]
        if not is_finite([count, area], 2):
            raise DataError(
                f"Annotation {annotation.get('id')} is malformed: 'num_keypoints' and 'area' must"
                " be finite numbers."
            )
        people.append(
            {
                "id": len(people) + 1,
                "image_id": annotation["image_id"],
                "category_id": 1,
                "bbox": list(box),
                "area": area,
                "iscrowd": int(annotation.get("iscrowd") or 0),
                "keypoints": list(keypoints),
                "num_keypoints": count,
            }
        )
    if estimated:
        log.warning("%d people have no area: %s of their box is taken", estimated, BOX_FILL)
    return people


def is_labelled(person: Mapping[str, Any]) -> bool:
    """Whether COCO's evaluation looks for this person of ``select_people``."""
    return bool(person["num_keypoints"] > 0 and not person["iscrowd"])


def is_finite(values: Any, size: int) -> bool:
    """Whether ``values`` are ``size`` finite numbers."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return numbers.shape == (size,) and bool(np.isfinite(numbers).all())


def category_of_people(annotations: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The category of people; None where the file names no categories.

    Raises DataError where it is unclear which one that is.
    """
    categories = annotations.get("categories") or []
    if not categories:
        return None
    named = [c for c in categories if c.get("name") == "person"]
    people: list[Mapping[str, Any]] = (
        named or [c for c in categories if "keypoints" in c] or categories
    )
    if len(people) > 1:
        raise DataError(
            "It is unclear which category of the annotations is people: name it 'person'."
        )
    return people[0]


def person_category(annotations: Mapping[str, Any]) -> Any:
    """The id of the category of people; None where the file names no categories.

    Raises DataError where it is unclear which one that is, or its keypoints are not COCO's 17.
    """
    category = category_of_people(annotations)
    if category is None:
        return None
    if tuple(category.get("keypoints", KEYPOINTS)) != KEYPOINTS:
        raise DataError(
            f"The annotations name the keypoints {category['keypoints']}; COCO's evaluation needs"
            f" its own 17 in its order, {', '.join(KEYPOINTS[:3])} and so on."
        )
    return category["id"]


def is_person(annotation: Mapping[str, Any], category: Any) -> bool:
    """Whether an annotation is of the category of people; of None, and without one, it is."""
    return category is None or annotation.get("category_id", category) == category
