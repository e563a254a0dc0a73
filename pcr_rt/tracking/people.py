"""The people found in a frame, with what tracking needs to know of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.geometry import box_iou
from pcr_rt.poses import Poses, ScoreKind
from pcr_rt.skeleton import Skeleton
from pcr_rt.tracking.appearance import PATCHES, describe
from pcr_rt.tracking.person_box import person_boxes

__all__ = ["LIMITS", "Limits", "People", "areas", "finite", "joined"]

Float = NDArray[np.float64]

CONTACT_IOU = 0.1
"""People whose boxes overlap more may show parts of each other."""


TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class Limits:
    """Thresholds on one kind of scores.

    start: from which a person starts a track; region: below which a region shows nobody (its box
    counts as sure, so this is a matter of the joints); keypoint: from which a keypoint says where
    a body is.
    """

    start: float
    region: float
    keypoint: float


LIMITS: dict[ScoreKind, Limits] = {
    "probability": Limits(0.5, 0.95, 0.75),
    "raw": Limits(0.14, 0.35, 0.3),
}
"""Nearly the same for the shipped models: of raw 0.35, 95 in 100 are people."""


@dataclass(frozen=True)
class People:
    """N people: poses, boxes around their keypoints (N, 4), and what can be said of them.

    from_detector: how many rows, the first ones, have boxes of the detector; the others are found
    in regions. keypoints (N, K, 2) and keypoint_scores (N, K): the poses' as float64; centres:
    (N, 4) the middle of each torso (of all keypoints if the skeleton has none), twice; present:
    (N,) whether somebody is there at all; touching: (N, N) who overlaps with whom, contact: (N,)
    whether with anybody; looks: (N, 5, 3), see `describe`, NaN if there is no frame.
    """

    poses: Poses
    from_detector: int
    keypoints: Float
    keypoint_scores: Float
    centres: Float
    boxes: Float
    present: NDArray[np.bool_]
    touching: NDArray[np.bool_]
    contact: NDArray[np.bool_]
    looks: Float

    @classmethod
    def of(cls, poses: Poses, frame: NDArray[np.uint8] | None, from_detector: int) -> People:
        """Look at people; the first ``from_detector`` have the detector's boxes, others regions."""
        limits = LIMITS[poses.score_kind]
        boxes = person_boxes(poses.keypoints, poses.keypoint_scores, poses.boxes, limits.keypoint)
        present = poses.scores >= limits.region
        present[:from_detector] = True
        touching: NDArray[np.bool_] = box_iou(boxes, boxes) > CONTACT_IOU
        np.fill_diagonal(touching, False)
        contact: NDArray[np.bool_] = np.any(touching, axis=1)
        keypoints = poses.keypoints.astype(np.float64)
        if frame is None:
            looks = np.full((len(poses), PATCHES, 3), np.nan)
        else:
            names = poses.skeleton.keypoints
            looks = describe(frame, keypoints, poses.keypoint_scores, limits.keypoint, names)
        scores = poses.keypoint_scores.astype(np.float64)
        middles = keypoints[:, _torso(poses.skeleton)].mean(1)
        centres = np.concatenate([middles, middles], axis=1)
        return cls(
            poses,
            from_detector,
            keypoints,
            scores,
            centres,
            boxes,
            present,
            touching,
            contact,
            looks,
        )


def _torso(skeleton: Skeleton) -> list[int]:
    """Indices of the torso's keypoints; all keypoints if the skeleton has no torso."""
    names = skeleton.keypoints
    return [names.index(name) for name in TORSO if name in names] or list(range(len(names)))


def areas(boxes: NDArray[Any]) -> Float:
    """Give the areas (N,) of boxes (N, 4) in square pixels, at least 1."""
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0, dtype=np.float64)
    area: Float = size[:, 0] * size[:, 1]
    return area


def finite(poses: Poses) -> Poses:
    """Leave out people with NaN or infinite values."""
    good = np.isfinite(poses.keypoints).all((1, 2)) & np.isfinite(poses.boxes).all(1)
    good &= np.isfinite(poses.keypoint_scores).all(1) & np.isfinite(poses.scores)
    return poses if good.all() else poses[good]


def joined(one: Poses, other: Poses) -> Poses:
    """Put the people of two Poses of one frame together."""
    both = (one, other)
    return dataclasses.replace(
        one,
        keypoints=np.concatenate([poses.keypoints for poses in both]),
        keypoint_scores=np.concatenate([poses.keypoint_scores for poses in both]),
        boxes=np.concatenate([poses.boxes for poses in both]),
        scores=np.concatenate([poses.scores for poses in both]),
    )
