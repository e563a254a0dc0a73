"""From the recipe's data sets to people: one row of a table per format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.ai_challenger import read_ai_challenger
from pcr_rt.training.data.coco import CROWDPOSE_KEYPOINTS, read_people
from pcr_rt.training.data.hard_negatives import read_hard_negatives
from pcr_rt.training.data.lsp import read_lsp
from pcr_rt.training.data.person import Broken, Person
from pcr_rt.training.data.pseudo_labels import read_pseudo_labels
from pcr_rt.training.data.yolo import read_yolo

__all__ = ["FORMATS", "DataSet", "in_fold", "is_in_fold", "people_from"]


@dataclass(frozen=True)
class DataSet:
    """One source of labelled people; paths are relative to the data folder, or absolute."""

    annotations: str
    """The file of labels."""
    images: str
    """The folder of its images."""
    name: str = ""
    """What stages call the set."""
    format: str = "coco"
    """Of the labels, see [training](../how-to/training.md#data)."""
    min_score: float = 0.5
    """The lowest score at which a keypoint of a pseudo-label, or a detection, counts."""
    detections: str = ""
    """COCO results of a detector, for ``hard_negatives``."""
    share: float = 0.0
    """The part of every batch that comes from this set alone; at 0 its people are shuffled among
    those of the other sets."""
    weight: float = 1.0
    """What multiplies the loss of these people."""
    repeat: int = 1
    """How often each person is listed."""
    min_keypoints: int = 1
    """People with fewer labelled keypoints are left out."""
    min_size: float = 0.0
    """People whose box, widened to 3:4, is lower than so many pixels are left out."""
    fold: Literal["all", "train", "dev"] = "all"
    """``train`` leaves out images whose id is divisible by 5, ``dev`` keeps only these."""
    ignore_exif: bool = False
    """Whether the labels were made on the images as they are stored, without their EXIF turn."""


_PEOPLE = ("weight", "min_keypoints")

FORMATS: dict[str, tuple[Callable[..., list[Person]], tuple[str, ...]]] = {
    "coco": (read_people, _PEOPLE),
    "crowdpose": (partial(read_people, names=CROWDPOSE_KEYPOINTS), _PEOPLE),
    "ai_challenger": (read_ai_challenger, _PEOPLE),
    "lsp": (read_lsp, _PEOPLE),
    "yolo": (read_yolo, (*_PEOPLE, "ignore_exif")),
    "pseudo": (read_pseudo_labels, (*_PEOPLE, "min_score")),
    "hard_negatives": (read_hard_negatives, ("weight", "min_score", "detections")),
}
"""Of each value of ``DataSet.format`` its reader, and which keys of the data set that takes.

A reader is called with the annotations, the folder of images, those keys, ``broken`` and
``skeleton``.
"""


def people_from(
    source: DataSet, data: Path, broken: Broken, skeleton: Skeleton = COCO17
) -> list[Person]:
    """Read the people of a data set, whose paths are relative to ``data``, each ``repeat`` times.

    skeleton: what is learnt; keypoints are joined by name. Raises DataError for files that cannot
    be used, and for broken records unless they are skipped.
    """
    read, keys = FORMATS[source.format]
    options = {key: getattr(source, key) for key in keys}
    if "detections" in options:
        options["detections"] = data / source.detections
    people = read(
        data / source.annotations, data / source.images, broken=broken, skeleton=skeleton, **options
    )
    large = [
        replace(person, ignore_exif=source.ignore_exif)
        for person in people
        if _height(person) >= source.min_size
    ]
    return in_fold(large, source.fold) * source.repeat


def in_fold(people: list[Person], fold: str) -> list[Person]:
    """Select the people of a fold (see `is_in_fold`)."""
    return [person for person in people if is_in_fold(person.image_id, fold)]


def is_in_fold(image_id: int | str, fold: str) -> bool:
    """Tell whether an image is of the fold: "dev" is ids with id % 5 == 0, "train" the others.

    Raises DataError for an id that is no whole number, unless the fold is "all".
    """
    if fold == "all":
        return True
    if not isinstance(image_id, int):
        raise DataError(
            f'fold needs images with whole numbers as ids, {image_id!r} is none: use fold = "all".'
        )
    return (image_id % 5 == 0) == (fold == "dev")


def _height(person: Person) -> float:
    """Pixels from top to bottom of a person's box, widened to 3:4."""
    width, height = person.box[2:] - person.box[:2]
    return float(max(height, width * 4 / 3))
