"""People from COCO person-keypoints JSON, with any skeleton: keypoints are joined by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import (
    is_finite,
    is_person,
    keypoint_names,
    load_annotations,
    people_categories,
    person_category,
    whole_bodies,
)
from pcr_rt.coco.record_images import image_path, image_size
from pcr_rt.errors import DataError
from pcr_rt.geometry import Size
from pcr_rt.skeleton import COCO17, Skeleton, shipped_skeletons
from pcr_rt.training.data.person import Broken, Person, report_broken

__all__ = ["CROWDPOSE_KEYPOINTS", "category_skeleton", "people_of", "read_people"]

log = logging.getLogger(__name__)

CROWDPOSE_KEYPOINTS = (
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("head", "neck"),
)
"""CrowdPose's 14 in their order (Li et al. 2019), for files that do not name them."""


def read_people(
    annotations: Path,
    images: Path,
    *,
    weight: float = 1.0,
    min_keypoints: int = 1,
    names: Sequence[str] = COCO17.keypoints,
    broken: Broken = "refuse",
    skeleton: Skeleton = COCO17,
) -> list[Person]:
    """Read the people of a COCO keypoint file with at least ``min_keypoints`` labelled keypoints.

    annotations: COCO JSON. names: its keypoints in their order, if its categories do not name
    them. The other arguments and errors are those of ``people_of``.
    """
    return people_of(
        load_annotations(annotations, lenient=broken == "skip"),
        annotations,
        images,
        weight=weight,
        min_keypoints=min_keypoints,
        names=names,
        broken=broken,
        skeleton=skeleton,
    )


def people_of(
    data: Mapping[str, Any],
    source: Path,
    images: Path,
    *,
    weight: float = 1.0,
    min_keypoints: int = 1,
    names: Sequence[str] = COCO17.keypoints,
    broken: Broken = "refuse",
    skeleton: Skeleton = COCO17,
) -> list[Person]:
    """Take the people from a parsed COCO keypoint file ``source``.

    Keypoints that ``skeleton`` does not have are left out. An annotation may carry
    ``keypoint_scores``, one per keypoint, which become the amplitudes of its targets. images: the
    folder of the images. weight: multiplies the loss of these people. Crowds and other categories
    are left out. An image that is not there, or a box or keypoint list that cannot be right, is
    reported with its id and refused (DataError), or skipped.
    """
    data = whole_bodies(data, str(source), skeleton, lenient=broken == "skip")
    category = person_category(data)
    slots = _slots(source, keypoint_names(data) or names, skeleton)
    records = {record["id"]: record for record in data["images"]}
    missing = {i for i, r in records.items() if not image_path(images, r).is_file()}
    _report_missing(missing, source, images, broken)
    people = []
    for annotation in data["annotations"]:
        if not is_person(annotation, category) or annotation.get("iscrowd"):
            continue
        if "keypoints" not in annotation:
            continue
        image_id = annotation["image_id"]
        if image_id in missing:
            continue
        if not _is_sound(annotation, len(slots)):
            report_broken(
                f"Annotation {annotation.get('id')} (image {image_id}) of {source} is malformed, it"
                f" needs a bbox of 4 and keypoints of {3 * len(slots)} finite numbers",
                broken,
            )
            continue
        image = image_path(images, records[image_id])
        person = _person(
            annotation, image, image_size(records[image_id]), slots, weight, len(skeleton)
        )
        if (person.weights > 0).sum() >= min_keypoints and min(annotation["bbox"][2:]) > 0:
            people.append(person)
    log.info("%s: %d people", source, len(people))
    return people


def _person(
    annotation: Mapping[str, Any],
    image: Path,
    size: Size | None,
    slots: NDArray[np.intp],
    weight: float,
    count: int,
) -> Person:
    common = slots >= 0
    label = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
    scores = np.asarray(annotation.get("keypoint_scores", np.ones(len(slots))), dtype=np.float64)
    keypoints, amplitudes, weights = np.zeros((count, 2)), np.zeros(count), np.zeros(count)
    keypoints[slots[common]] = label[common, :2]
    amplitudes[slots[common]] = scores[common]
    weights[slots[common]] = (label[common, 2] > 0) * weight
    x, y, width, height = map(float, annotation["bbox"])
    box = np.array([x, y, x + width, y + height])
    identity = image, annotation["image_id"]
    return Person(*identity, box, keypoints, amplitudes, weights, image_size=size)


def _is_sound(annotation: Mapping[str, Any], count: int) -> bool:
    return (
        is_finite(annotation["keypoints"], 3 * count)
        and is_finite(annotation.get("bbox"), 4)
        and is_finite(annotation.get("keypoint_scores", np.ones(count)), count)
    )


def _slots(source: Path, names: Sequence[str], skeleton: Skeleton) -> NDArray[np.intp]:
    """Find the slot of each keypoint of the file, joined by name; -1 if there is none."""
    slots = skeleton.slots(names)
    if (slots < 0).all():
        raise DataError(
            f"{source} names no keypoint of the skeleton {skeleton.name!r}: its names are"
            f" {', '.join(names)}; the skeleton's are {', '.join(skeleton.keypoints)}."
        )
    return slots


def category_skeleton(data: Mapping[str, Any], source: Path) -> Skeleton | None:
    """Make the skeleton that a parsed COCO file's category of people describes; None if none does.

    A shipped one if it has these keypoints. Raises DataError for links to no keypoint, InputError
    for names that no skeleton can have.
    """
    names = keypoint_names(data)
    if names is None:
        return None
    for shipped in map(Skeleton.load, shipped_skeletons()):
        if shipped.keypoints == tuple(names):
            return shipped
    category = next(c for c in people_categories(data) if c.get("keypoints"))
    limbs = []
    for link in category.get("skeleton") or ():
        try:
            a, b = (int(number) for number in link)
            ends = names[a - 1], names[b - 1]
        except (IndexError, TypeError, ValueError):
            a = b = 0
        if not (a > 0 and b > 0):
            raise DataError(
                f"{source}: 'skeleton' of the category {category.get('name')!r} has {link!r}; it"
                f" must hold pairs of numbers from 1 to {len(names)}."
            )
        limbs.append(list(ends))
    called = str(category.get("name"))
    table = {"name": called, "category": called, "keypoints": names, "limbs": limbs}
    return Skeleton.from_table(table, str(source))


def _report_missing(missing: set[Any], source: Path, images: Path, broken: Broken) -> None:
    if missing and broken == "refuse":
        raise DataError(
            f"{len(missing)} images of {source} are not in {images}, the first has id"
            f" {min(missing, key=str)}: point to the folder that holds them, or put"
            ' broken = "skip" into the recipe.'
        )
    for image_id in missing:
        report_broken(f"The image with id {image_id} of {source} is not in {images}", broken)
