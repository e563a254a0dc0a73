"""People and results matched by pycocotools, and AP over any draw of the images."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.records import RESULT, check_record, shown
from pcr_rt.errors import DataError, MissingDependencyError
from pcr_rt.skeleton import Skeleton

__all__ = ["Matches", "match", "require_pycocotools", "select_results"]

RECALLS = np.linspace(0, 1, 101)


def require_pycocotools() -> tuple[Any, Any]:
    """Import the classes COCO and COCOeval; MissingDependencyError if pycocotools is missing."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise MissingDependencyError(
            'Keypoint AP needs pycocotools: install it with pip install ".[eval]".'
        ) from None
    return COCO, COCOeval


def select_results(
    results: Sequence[Mapping[str, Any]],
    annotations: Mapping[str, Any],
    images: Container[Any],
    skeleton: Skeleton,
) -> list[dict[str, Any]]:
    """Select the results of ``images`` as pycocotools reads them, each a person.

    Their area, by which COCO assigns unmatched results to medium or large, is that of the box
    if there is one, else of the keypoints' extent. Raises DataError for a malformed result
    and for one of an image that the annotations do not list.
    """
    known = {image["id"] for image in annotations["images"]}
    detections: list[dict[str, Any]] = []
    for number, result in enumerate(results):
        where = f"Result {number} (from 0)"
        if not isinstance(result, Mapping):
            raise DataError(f"{where} is {shown(repr(result))}, not a COCO result.")
        record = check_record(result, RESULT, where, "image_id", "keypoints", "score")
        image_id, box = record["image_id"], record.get("bbox")
        if image_id not in known:
            raise DataError(
                f"{where} belongs to image {shown(str(image_id))}, which the annotations do not"
                " list."
            )
        if len(record["keypoints"]) != 3 * len(skeleton):
            raise DataError(
                f"{where} has {len(record['keypoints'])} numbers as 'keypoints':"
                f" {skeleton.name} has {3 * len(skeleton)}."
            )
        if image_id in images:
            points = np.asarray(record["keypoints"]).reshape(-1, 3)
            size = np.ptp(points[:, :2], axis=0) if box is None else box[2:]
            detections.append(
                {
                    "id": len(detections) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "keypoints": points.ravel(),
                    "score": record["score"],
                    "area": float(size[0] * size[1]),
                }
            )
    return detections


def match(
    images: Mapping[Any, Any],
    people: list[dict[str, Any]],
    detections: list[Any],
    skeleton: Skeleton,
) -> Any:
    """Match detections to people with a COCOeval, which marks the records that it is given.

    Its OKS has the skeleton's sigmas.
    """
    coco, coco_eval = require_pycocotools()
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for records in (people, detections):
            side = coco()
            side.dataset = {
                "images": list(images.values()),
                "categories": [{"id": 1, "name": skeleton.category}],
                "annotations": records,
            }
            side.createIndex()
            sides.append(side)
        matcher = coco_eval(*sides, iouType="keypoints")
        matcher.params.kpt_oks_sigmas = skeleton.sigma_array
        matcher.evaluate()
    return matcher


@dataclass(frozen=True)
class Matches:
    """What pycocotools matched: D results in the order of the images, at 10 OKS thresholds.

    scores: (D,); hits, misses: (10, D), both False if a result is ignored; first: (I + 1,)
    where the results of each image begin; people: (I,) labelled people of each image.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    misses: NDArray[np.bool_]
    first: NDArray[np.intp]
    people: NDArray[np.intp]

    @classmethod
    def of(cls, matcher: Any) -> Matches:
        """The matches of a COCOeval that has evaluated."""
        # One entry an image and area range; the first range is "all", None is an empty image.
        images = matcher.evalImgs[: len(matcher.params.imgIds)]
        some = [image for image in images if image is not None]
        matched = np.concatenate([image["dtMatches"] for image in some], axis=1) > 0
        ignored = np.concatenate([image["dtIgnore"] for image in some], axis=1).astype(bool)
        counts = [0 if image is None else len(image["dtScores"]) for image in images]
        return cls(
            scores=np.concatenate([np.asarray(i["dtScores"], dtype=np.float64) for i in some]),
            hits=matched & ~ignored,
            misses=~matched & ~ignored,
            first=np.concatenate([[0], np.cumsum(counts)]),
            people=np.array([0 if i is None else (i["gtIgnore"] == 0).sum() for i in images]),
        )

    def average_precision(self, images: NDArray[np.intp]) -> float:
        """AP over ``images``: indices that may repeat, at least one of an image with people."""
        drawn = np.concatenate([np.arange(self.first[i], self.first[i + 1]) for i in images])
        order = drawn[np.argsort(-self.scores[drawn], kind="stable")]
        hits = self.hits[:, order].cumsum(axis=1)
        misses = self.misses[:, order].cumsum(axis=1)
        precision = hits / (hits + misses + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # The last column: the precision at a recall that is never reached.
        envelope = np.pad(envelope, ((0, 0), (0, 1)))
        at = [
            np.searchsorted(recall, RECALLS, side="left")
            for recall in hits / self.people[images].sum()
        ]
        return float(np.take_along_axis(envelope, np.array(at), axis=1).mean())
