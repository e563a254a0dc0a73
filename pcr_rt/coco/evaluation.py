"""COCO keypoint average precision: of results, of an estimator, and of the difference of two."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import (
    Annotations,
    check_annotations,
    is_labelled,
    load_annotations,
    person_category,
    select_images,
    select_people,
)
from pcr_rt.coco.detections import boxes_by_image
from pcr_rt.coco.matching import Matches, match, require_pycocotools, select_results
from pcr_rt.coco.record_images import read_record_image
from pcr_rt.errors import DataError, InputError
from pcr_rt.skeleton import COCO17, Skeleton

__all__ = ["KeypointAP", "bootstrap_difference", "evaluate", "keypoint_ap"]

MAX_RESULTS = 20
"""COCO counts the 20 best results of an image."""


@dataclass(frozen=True)
class KeypointAP:
    """The ten numbers of the COCO keypoint protocol, 0 to 1; -1 if nobody of that size is labelled.

    people: how many labelled people were looked for; results: how many results were given for
    the evaluated images.
    """

    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float
    people: int
    results: int

    def to_dict(self) -> dict[str, float | int]:
        """The fields by name, ready for JSON."""
        return asdict(self)


class _Poses(Protocol):
    def to_coco(self, image_id: int) -> list[dict[str, Any]]: ...


class _Estimator(Protocol):
    def __call__(self, frame: NDArray[Any], boxes: NDArray[np.float64] | None = None) -> _Poses: ...


def keypoint_ap(
    annotations: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int] | None = None,
    *,
    skeleton: Skeleton = COCO17,
) -> KeypointAP:
    """Compute COCO keypoint AP and AR of ``results`` with pycocotools.

    annotations: a parsed COCO person-keypoints file. What it lacks is filled in: ``iscrowd`` 0,
    ``num_keypoints`` counted, ``area`` 0.53 of the box (also for an area of 0), no ``categories``
    as people only.
    results: COCO results with ``image_id``, ``keypoints`` (51: x, y, score) and ``score``; each
    counts as a person, whatever its ``category_id``. image_ids: the images to evaluate, all when
    None. skeleton: of both sides; OKS takes its sigmas. Neither argument is changed.

    Raises DataError if annotations or results are malformed or speak of unknown images or the
    images hold no labelled people, and MissingDependencyError without pycocotools.
    """
    annotations = check_annotations(annotations, Annotations.name)
    images = select_images(annotations, image_ids)
    people = _labelled_people(annotations, images, skeleton)
    detections = select_results(results, annotations, images, skeleton)
    matcher = match(images, people, detections, skeleton)
    with contextlib.redirect_stdout(io.StringIO()):
        matcher.accumulate()
        matcher.summarize()
    ap, ap50, ap75, ap_medium, ap_large = map(float, matcher.stats[:5])
    ar, ar50, ar75, ar_medium, ar_large = map(float, matcher.stats[5:])
    return KeypointAP(
        ap=ap,
        ap50=ap50,
        ap75=ap75,
        ap_medium=ap_medium,
        ap_large=ap_large,
        ar=ar,
        ar50=ar50,
        ar75=ar75,
        ar_medium=ar_medium,
        ar_large=ar_large,
        people=sum(map(is_labelled, people)),
        results=len(detections),
    )


def bootstrap_difference(
    annotations: Mapping[str, Any],
    results_a: Sequence[Mapping[str, Any]],
    results_b: Sequence[Mapping[str, Any]],
    *,
    samples: int = 1000,
    seed: int = 0,
    image_ids: Sequence[int] | None = None,
    skeleton: Skeleton = COCO17,
) -> tuple[float, float, float]:
    """Subtract AP of ``results_b`` from AP of ``results_a``, with a 95 % interval.

    A paired bootstrap: each of ``samples`` rounds draws as many images as there are, with
    replacement (NumPy's default generator, ``seed``), and takes both APs on them; the interval
    holds the middle 95 % of the differences. The other arguments and errors are those of
    ``keypoint_ap``. Returns (difference, low, high).
    """
    if samples < 1:
        raise InputError(f"The bootstrap needs at least 1 sample, not {samples}.")
    annotations = check_annotations(annotations, Annotations.name)
    images = select_images(annotations, image_ids)
    people = _labelled_people(annotations, images, skeleton)
    a, b = (
        Matches.of(
            match(images, people, select_results(results, annotations, images, skeleton), skeleton)
        )
        for results in (results_a, results_b)
    )
    generator = np.random.default_rng(seed)
    differences = np.empty(samples)
    for sample in range(samples):
        chosen = generator.integers(len(images), size=len(images))
        while not a.people[chosen].any():  # nobody is labelled on these: they have no AP
            chosen = generator.integers(len(images), size=len(images))
        differences[sample] = a.average_precision(chosen) - b.average_precision(chosen)
    everything = np.arange(len(images))
    difference = a.average_precision(everything) - b.average_precision(everything)
    low, high = np.percentile(differences, [2.5, 97.5])
    return difference, float(low), float(high)


def evaluate(
    estimator: _Estimator,
    annotations_path: str | Path,
    images_folder: str | Path,
    *,
    boxes: Literal["ground-truth", "detector"] | Path = "ground-truth",
    progress: Callable[[int, int], None] | None = None,
    image_ids: Sequence[int] | None = None,
    category: str | None = None,
    ignore_exif: bool = False,
    skeleton: Skeleton = COCO17,
) -> tuple[KeypointAP, list[dict[str, Any]]]:
    """Run an estimator over labelled images; return its AP and its results in COCO format.

    estimator: a ``PoseEstimator``. boxes: ``ground-truth`` gives it the boxes of the labelled
    people and leaves out images without any; ``detector`` lets it find people in all images; a path
    is a file of detections in COCO's results format, whose boxes and scores it takes. Of found
    people the 20 best an image are kept. progress: called with (images done, images in all) after
    each. skeleton: of the estimator's model and the labels. category: the name of the only category
    of people that counts. ignore_exif: the labels were made on images that are not
    turned as their EXIF orientation says.

    Raises DataError as ``keypoint_ap`` does, for an image that cannot be read, for a labelled
    person without a box, and for detections of which none fits the annotations.
    """
    if not isinstance(boxes, Path) and boxes not in ("ground-truth", "detector"):
        raise InputError(
            f"boxes must be 'ground-truth' or 'detector', or the Path of a file, not {boxes!r}."
        )
    require_pycocotools()
    annotations = load_annotations(annotations_path, category=category)
    images = select_images(annotations, image_ids)
    _labelled_people(annotations, images, skeleton)
    given: dict[Any, NDArray[np.float64]] = {}
    if isinstance(boxes, Path):
        everything = {image["id"] for image in annotations["images"]}
        given = boxes_by_image(boxes, person_category(annotations), everything)
    elif boxes == "ground-truth":
        given = _labelled_boxes(annotations, images, skeleton)
    todo = [i for i in images if boxes == "detector" or i in given]
    results: list[dict[str, Any]] = []
    for done, image_id in enumerate(todo, 1):
        try:
            frame = read_record_image(
                Path(images_folder), images[image_id], ignore_exif=ignore_exif
            )
        except InputError as error:
            raise DataError(str(error)) from None
        found = estimator(frame, boxes=given.get(image_id)).to_coco(image_id)
        if boxes != "ground-truth":
            found = sorted(found, key=lambda result: -result["score"])[:MAX_RESULTS]
        results += found
        if progress is not None:
            progress(done, len(todo))
    return keypoint_ap(annotations, results, image_ids, skeleton=skeleton), results


def _labelled_people(
    annotations: Mapping[str, Any], images: Mapping[Any, Any], skeleton: Skeleton
) -> list[dict[str, Any]]:
    """``select_people``; DataError with counts if nobody among them is labelled."""
    people = select_people(annotations, images, skeleton)
    if not any(map(is_labelled, people)):
        raise DataError(
            f"The {len(images)} evaluated images hold {len(people)} annotations of people and none"
            " with labelled keypoints: there is nothing to evaluate."
        )
    return people


def _labelled_boxes(
    annotations: Mapping[str, Any], images: Mapping[Any, Any], skeleton: Skeleton
) -> dict[Any, NDArray[np.float64]]:
    """The boxes (N, 4) xyxy of the labelled people of each image that has some."""
    found: dict[Any, list[list[float]]] = {}
    for person in filter(is_labelled, select_people(annotations, images, skeleton)):
        x, y, width, height = person["bbox"]
        if min(width, height) <= 0:
            raise DataError(
                f"A labelled person of image {person['image_id']} has the 'bbox' {person['bbox']}"
                " without area: mend it, or give boxes of a detector."
            )
        found.setdefault(person["image_id"], []).append([x, y, x + width, y + height])
    return {image: np.array(rows, dtype=np.float64) for image, rows in found.items()}
