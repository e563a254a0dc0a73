"""Compare two artefacts of one model: how far keypoints or boxes of the second lie off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pcr_rt.engines import Engine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.geometry import box_iou
from pcr_rt.inference.agreement import SAMPLE, SURE_BOX, SURE_KEYPOINT
from pcr_rt.inference.detector import Detector, finder
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.inference.pose_network import crop_transforms
from pcr_rt.media import read_image
from pcr_rt.models import ModelSpec
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17

__all__ = ["SAMPLE", "Comparison", "compare", "differences"]


@dataclass(frozen=True)
class Comparison:
    """One image under both artefacts.

    values: for pose models the distances in input pixels of the keypoints that the first gives a
    score above 0.3; for detectors the overlap (IoU) of each of the first's boxes above 0.4 with the
    best of the second's. first, second: what was found; of a detector boxes alone.
    """

    image: Path
    unit: Literal["px", "IoU"]
    values: NDArray[np.float64]
    first: Poses
    second: Poses

    @property
    def worst(self) -> float:
        """Give the value that lies furthest off: the largest in pixels, the smallest IoU."""
        return float(self.values.max() if self.unit == "px" else self.values.min())


def compare(
    first: Engine,
    second: Engine,
    images: Sequence[Path],
    *,
    detector: Detector | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Comparison]:
    """Run both artefacts on the people of the images; images without any are left out.

    detector: finds the people for pose models; RTMDet-nano unless given, and the whole image for
    a skeleton that is no person's. Raises ModelError if one
    artefact is a detector and the other is not, or their inputs differ in size, and InputError if
    no image has anything to compare.
    """
    one, other = first.spec, second.spec
    if one.is_detector != other.is_detector or (
        not one.is_detector
        and (one.input_size != other.input_size or len(one.skeleton) != len(other.skeleton))
    ):
        raise ModelError(
            f"{_described(one)} and {_described(other)} cannot be compared: give two files of one"
            " model."
        )
    found = []
    find = finder(detector or _usual_detector(first))
    for done, image in enumerate(images, 1):
        frame = read_image(image)
        boxes, scores = find([frame], SURE_BOX)[0]
        if len(boxes):
            comparison = (
                _boxes(boxes, scores, second, frame, image)
                if one.is_detector
                else _keypoints(boxes, first, second, frame, image)
            )
            if len(comparison.values):
                found.append(comparison)
        progress(done, len(images))
    if not found:
        raise InputError(
            f"{one.name!r} is sure of nothing in these images, so nothing can be compared: give"
            " images of people."
        )
    return found


def _described(spec: ModelSpec) -> str:
    keypoints = "" if spec.is_detector else f", {len(spec.skeleton)} keypoints"
    return f"{spec.name!r} ({spec.kind}, {spec.input_size}{keypoints})"


def _usual_detector(first: Engine) -> Detector | None:
    """The detector under test, one of people, or None, the whole image, for what is no person."""
    if first.spec.is_detector:
        return Detector(first)
    return Detector("rtmdet-nano") if first.spec.skeleton.category == "person" else None


def differences(comparisons: Sequence[Comparison]) -> NDArray[np.float64]:
    """Give all values of the images in a row."""
    return np.concatenate([comparison.values for comparison in comparisons])


def _keypoints(
    boxes: NDArray[np.float64], first: Engine, second: Engine, frame: NDArray[np.uint8], path: Path
) -> Comparison:
    one, other = (
        PoseEstimator(engine, detector=None, score_threshold=0, nms=None, calibrated=False)(
            frame, boxes=boxes
        )
        for engine in (first, second)
    )
    step = crop_transforms(boxes, first.spec)[:, None, [0, 1], [0, 1]]
    shift = np.linalg.norm((one.keypoints - other.keypoints) / step, axis=2)
    return Comparison(path, "px", shift[one.keypoint_scores > SURE_KEYPOINT], one, other)


def _boxes(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    second: Engine,
    frame: NDArray[np.uint8],
    path: Path,
) -> Comparison:
    # Lower than the first's threshold, so that a box that slips just below it counts by its place.
    others, other_scores = Detector(second)([frame], SURE_BOX / 2)[0]
    overlaps = box_iou(boxes, others).max(1) if len(others) else np.zeros(len(boxes))
    size = (frame.shape[1], frame.shape[0])
    return Comparison(
        path, "IoU", overlaps, _as_poses(boxes, scores, size), _as_poses(others, other_scores, size)
    )


def _as_poses(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], size: tuple[int, int]
) -> Poses:
    return Poses(
        keypoints=np.zeros((len(boxes), len(COCO17), 2), np.float32),
        keypoint_scores=np.zeros((len(boxes), len(COCO17)), np.float32),
        boxes=boxes.astype(np.float32),
        scores=scores.astype(np.float32),
        image_size=size,
    )
