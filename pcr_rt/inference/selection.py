"""Score, suppress and limit the people of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pcr_rt.calibration import Calibration
from pcr_rt.cuda_kernels import reference
from pcr_rt.models import PersonScore
from pcr_rt.poses import Poses, ScoreKind
from pcr_rt.skeleton import COCO17, Skeleton

__all__ = ["People", "Selection", "Suppressed", "person_scores"]

Suppressed = tuple[NDArray[np.integer[Any]], NDArray[np.float32]]
"""Which of a frame's people OKS-NMS keeps, best first, and their scores."""


@dataclass(frozen=True)
class People:
    """The people of one frame before any is dropped.

    keypoints: (N, K, 2); keypoint_scores: (N, K); boxes: (N, 4); box_scores: (N,); suppressed:
    the result of OKS-NMS of all of them, if a device has done that already.
    """

    keypoints: NDArray[np.float32]
    keypoint_scores: NDArray[np.float32]
    boxes: NDArray[np.float64]
    box_scores: NDArray[np.float64]
    suppressed: Suppressed | None = None


@dataclass(frozen=True)
class Selection:
    """Which people stay; its fields are options of `PoseEstimator`, and what the model's spec says.

    Suppression and order go by raw scores; score_threshold is on what is shown: probabilities if
    there is a calibration, whose curves rise strictly, raw scores if not.
    """

    score_threshold: float
    max_people: int | None
    nms: Literal["hard", "soft"] | None
    oks_threshold: float
    person_score: PersonScore
    calibration: Calibration | None = None
    skeleton: Skeleton = COCO17

    @property
    def score_kind(self) -> ScoreKind:
        """The kind of the scores of the people who stay."""
        return "raw" if self.calibration is None else "probability"

    def __call__(self, people: People, size: tuple[int, int]) -> Poses:
        """Choose who stays, in the order of the boxes; size: (width, height) of the frame."""
        # A device suppresses before it knows the threshold. Those below come last in order of
        # score, so they change nobody else.
        rows, raw = people.suppressed or self._suppressed_here(people)
        shown = self._shown(raw)
        passes = shown >= np.float32(self.score_threshold)
        if not passes.all():
            rows, raw, shown = rows[passes], raw[passes], shown[passes]
        order = rows.argsort()
        if self.max_people is not None and len(rows) > self.max_people:
            order = np.sort(np.argsort(-raw, kind="stable")[: self.max_people])
            order = order[rows[order].argsort()]
        keep = rows[order]
        keypoint_scores = people.keypoint_scores[keep]
        if self.calibration is not None:
            keypoint_scores = self.calibration.of_keypoints(keypoint_scores)
        # Indexing has copied them.
        return Poses.of_arrays(
            people.keypoints[keep],
            keypoint_scores,
            people.boxes[keep].astype(np.float32),
            shown[order],
            image_size=size,
            score_kind=self.score_kind,
            skeleton=self.skeleton,
        )

    def _shown(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Turn raw scores into what people get."""
        scores = raw if self.calibration is None else self.calibration.of_people(raw)
        return scores.astype(np.float32)

    def _suppressed_here(self, people: People) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """Give the rows of the people who stay, of those above the threshold, and raw scores."""
        scores = people.box_scores * person_scores(people.keypoint_scores, self.person_score)
        keep = np.flatnonzero(self._shown(scores) >= np.float32(self.score_threshold))
        if self.nms is None or len(keep) < 2:
            return keep, scores[keep]
        boxes = people.boxes[keep]
        chosen, rescored = reference.oks_nms(
            people.keypoints[keep],
            scores[keep],
            (boxes[:, 2:] - boxes[:, :2]).prod(1),
            sigmas=self.skeleton.sigma_array,
            method=self.nms,
            threshold=self.oks_threshold,
        )
        keep = keep[chosen]
        return keep, rescored if self.nms == "soft" else scores[keep]


def person_scores(keypoint_scores: NDArray[Any], rule: PersonScore) -> NDArray[np.float64]:
    """Give the factor (N,) on the box score, from keypoint scores (N, K).

    ``mean>0.2``: mean of the scores above 0.2, 0 if none is; ``mean``; ``rms``: root of the mean
    square.
    """
    scores = np.asarray(keypoint_scores, dtype=np.float64).clip(0, 1)
    if rule == "rms":
        factor = np.sqrt(np.square(scores).mean(1))
    else:
        counted = scores > 0.2 if rule == "mean>0.2" else np.ones_like(scores, dtype=bool)
        factor = (scores * counted).sum(1) / counted.sum(1).clip(min=1)
    return np.asarray(factor, dtype=np.float64)
