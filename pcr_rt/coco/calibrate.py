"""How often a model's scores are right on labelled images, and the calibration that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pcr_rt.calibration import Calibration, Knots
from pcr_rt.coco.annotations import is_labelled, load_annotations, select_images, select_people
from pcr_rt.coco.record_images import read_record_image
from pcr_rt.errors import DataError, InputError
from pcr_rt.geometry import box_iou
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17, Skeleton, keypoint_similarity

__all__ = [
    "Judged",
    "Outcomes",
    "brier_score",
    "calibration_error",
    "cross_fitted",
    "fit_calibration",
    "fit_knots",
    "joined",
    "judge",
    "judge_images",
    "reliability",
]

RIGHT = 0.5
"""From this OKS on a person or keypoint is in its place."""
OVERLAPS, INSIDE = 0.4, 0.7
"""A result is on a box if their IoU is that large, or that share of the result lies inside."""
FEWEST = 50
"""Scores that a curve is fitted to."""
KNOTS = 21
LEAST_SLOPE = 0.02
"""Of a curve, so that no two scores become one in float32 where it is nearly flat."""
SMALLEST = 1e-3
"""Scores closer to 0 or 1 count as that close, so that their logarithms stay finite."""
RIDGE, MOST_STEPS = 0.01, 50


@dataclass(frozen=True)
class Outcomes:
    """Scores (N,), whether each was right (N,), and the number (N,) of the image each is from."""

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    images: NDArray[np.intp]


@dataclass(frozen=True)
class Judged:
    """What labelled images say of a model's keypoints and people."""

    keypoints: Outcomes
    people: Outcomes


class _Estimator(Protocol):
    def __call__(self, frame: NDArray[Any]) -> Poses: ...


def judge_images(
    estimator: _Estimator,
    annotations_path: str | Path,
    images_folder: str | Path,
    *,
    skeleton: Skeleton = COCO17,
    ignore_exif: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judged:
    """Run an estimator over the labelled images and judge all that it finds.

    Left out are images that say ``boxes_complete: false``, since people without a label are in
    them, and images without people: how many of these there are depends on the data set, and with
    it how often a result is right. skeleton: the estimator's. ignore_exif: the labels are for the
    images as stored. progress: called with (images done, images in all) after each. Raises
    DataError for annotations or images that cannot be used, and for labels of another skeleton.
    """
    annotations = load_annotations(annotations_path)
    images = {
        key: image
        for key, image in select_images(annotations).items()
        if image.get("boxes_complete", True)
    }
    people: dict[Any, list[dict[str, Any]]] = {key: [] for key in images}
    for person in select_people(annotations, images, skeleton):
        people[person["image_id"]].append(person)
    judged = []
    images = {key: image for key, image in images.items() if people[key]}
    if not images:
        raise DataError(f"{annotations_path} has no images whose people are all labelled.")
    for done, (key, image) in enumerate(images.items(), 1):
        try:
            frame = read_record_image(Path(images_folder), image, ignore_exif=ignore_exif)
        except InputError as error:
            raise DataError(str(error)) from None
        judged.append(judge(estimator(frame), people[key]))
        progress(done, len(images))
    return Judged(*(joined(of_image) for of_image in zip(*judged, strict=True)))


def judge(poses: Poses, people: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Judge the keypoints and the people that were found in one image.

    people: those of the image, as ``select_people`` gives them. Returns (scores, right) of the
    keypoints and of the people. A person is right with an OKS of 0.5 or more with a label; one who
    lies on a person without labelled keypoints, or on a crowd, is not judged. The keypoints of
    right people are judged if the label has them; one is right if its own term of OKS is 0.5 or
    more.
    """
    labels = [person for person in people if is_labelled(person)]
    terms = np.zeros((len(poses), len(labels), poses.keypoints.shape[1]))
    visible = np.zeros(terms.shape[1:], dtype=bool)
    for column, label in enumerate(labels):
        points = np.array(label["keypoints"], dtype=np.float64).reshape(-1, 3)
        visible[column] = points[:, 2] > 0
        for row, keypoints in enumerate(poses.keypoints):
            terms[row, column] = keypoint_similarity(
                keypoints, points[:, :2], label["area"], poses.skeleton.sigma_array
            )
    oks = (terms * visible).sum(2) / visible.sum(1).clip(min=1)
    right = (oks >= RIGHT).any(1)
    best = oks[right].argmax(1) if len(labels) else np.zeros(0, dtype=np.intp)
    has = visible[best]
    keypoints = (
        poses.keypoint_scores[right][has].astype(np.float64),
        terms[right, best][has] >= RIGHT,
    )
    judged = right | ~_lies_on(poses.boxes, [p["bbox"] for p in people if not is_labelled(p)])
    return keypoints, (poses.scores[judged].astype(np.float64), right[judged])


def _lies_on(boxes: NDArray[np.float32], others: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
    """Which of the boxes (N, 4) xyxy lie on one of the others, each (x, y, width, height)."""
    if not others:
        return np.zeros(len(boxes), dtype=bool)
    own = boxes.astype(np.float64)[:, None]
    other = np.array(others, dtype=np.float64)
    other[:, 2:] += other[:, :2]
    shared = np.minimum(own[..., 2:], other[:, 2:]) - np.maximum(own[..., :2], other[:, :2])
    inside = shared.clip(min=0).prod(2) / (own[..., 2:] - own[..., :2]).prod(2)
    found: NDArray[np.bool_] = ((box_iou(boxes, other) >= OVERLAPS) | (inside >= INSIDE)).any(1)
    return found


def joined(of_images: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> Outcomes:
    """Join the (scores, right) of several images, numbered from 0."""
    scores, right = (np.concatenate(column) for column in zip(*of_images, strict=True))
    return Outcomes(
        scores, right, np.repeat(np.arange(len(of_images)), [len(s) for s, _ in of_images])
    )


def fit_calibration(judged: Judged) -> Calibration:
    """Fit both curves. Raises DataError if too little was found to fit one."""
    return Calibration(
        keypoints=fit_knots(judged.keypoints.scores, judged.keypoints.right),
        people=fit_knots(judged.people.scores, judged.people.right),
    )


def fit_knots(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> Knots:
    """Fit a curve from scores (N,) to the probability that they are right, as 21 knots.

    Beta calibration (Kull, Silva Filho and Flach 2017): a logistic regression on log(score) and
    -log(1 - score) whose weights may not be negative, mixed with a fiftieth of the score itself.
    Scores outside 0 to 1 count as 0 or 1. Raises DataError for fewer than 50 scores, and if more
    of the low scores are right than of the high ones.
    """
    if len(scores) < FEWEST:
        raise DataError(
            f"Only {len(scores)} scores can be judged, too few to calibrate: give images with more"
            " labelled people."
        )
    features, columns = _features(scores), [1, 2]
    weights = np.zeros(3)
    while columns:
        used = [0, *columns]
        weights[:] = 0
        weights[used] = _logistic_regression(features[:, used], right.astype(np.float64))
        falling = [column for column in columns if weights[column] <= 0]
        if not falling:
            break
        columns.remove(min(falling, key=lambda column: weights[column]))
    else:
        raise DataError(
            "High scores are not right more often than low ones: the annotations are of other"
            " images, or the model is not trained."
        )
    raw = np.linspace(0, 1, KNOTS)
    curve = 1 / (1 + np.exp(-_features(raw) @ weights))
    mixed = (1 - LEAST_SLOPE) * curve + LEAST_SLOPE * raw
    return tuple(
        (round(x, 4), round(y, 6)) for x, y in zip(raw.tolist(), mixed.tolist(), strict=True)
    )


def _features(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3): 1, log(score) and -log(1 - score)."""
    inside = scores.clip(SMALLEST, 1 - SMALLEST)
    return np.stack([np.ones_like(inside), np.log(inside), -np.log1p(-inside)], axis=1)


def _logistic_regression(
    features: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Newton's method with halved steps; a small ridge keeps what is separable finite."""

    def loss(weights: NDArray[np.float64]) -> float:
        logits = features @ weights
        fit = np.logaddexp(0, logits) - right * logits
        return float(fit.sum() + RIDGE / 2 * weights @ weights)

    weights = np.zeros(features.shape[1])
    for _ in range(MOST_STEPS):
        probabilities = 1 / (1 + np.exp(-features @ weights))
        spread = features * (probabilities * (1 - probabilities))[:, None]
        slope = features.T @ (probabilities - right) + RIDGE * weights
        step = np.linalg.solve(features.T @ spread + RIDGE * np.eye(len(weights)), slope)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step /= 2
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def cross_fitted(outcomes: Outcomes, folds: int = 5) -> NDArray[np.float64]:
    """Give the probability (N,) of each score by a curve fitted to the images of other folds."""
    probabilities = np.empty(len(outcomes.scores))
    for fold in range(folds):
        held = outcomes.images % folds == fold
        knots = fit_knots(outcomes.scores[~held], outcomes.right[~held])
        probabilities[held] = np.interp(outcomes.scores[held], *np.transpose(knots))
    return probabilities


def reliability(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15
) -> list[tuple[float, float, int]]:
    """Mean probability, share of right ones and count of each bin of equal width that has some."""
    place = np.clip((probabilities * bins).astype(int), 0, bins - 1)
    members = [np.flatnonzero(place == b) for b in range(bins)]
    return [
        (float(probabilities[m].mean()), float(right[m].mean()), len(m)) for m in members if len(m)
    ]


def calibration_error(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error: the mean of |probability - share of right ones| of the bins."""
    table = reliability(probabilities, right, bins)
    return sum(count * abs(p - share) for p, share, count in table) / max(len(right), 1)


def brier_score(probabilities: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean square of probability minus outcome."""
    return float(np.square(probabilities - right).mean())
