"""People who keep their id from frame to frame, and where to look for them in the next frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.tracking.association import assign, cross_oks
from pcr_rt.tracking.scene_changes import ChangeDetector

__all__ = ["Tracker"]

Float = NDArray[np.float64]

DAMPING_S = 1.0
"""A person who is not seen slows down with this time constant."""
VELOCITY_S = 0.15
"""Time constant of the mean over measured velocities."""
TOLERANCE_S = 0.15
"""OKS's sigmas double when a person has not been seen for so long."""
MAX_TOLERANCE = 4.0
CONFIDENT = 0.3
"""Keypoints with this score make up the region; others may lie anywhere."""
MIN_CONFIDENT = 5
REGION_PADDING = 0.15
DUPLICATE_OKS = 0.6
CONFIDENCE_DROP = 0.6
"""The detector looks again when a person's score falls below this share of its mean."""


@dataclass
class _Track:
    """A person; ``id`` is 0 until they have been seen often enough to be shown."""

    keypoints: Float
    keypoint_scores: Float
    box: Float
    velocity: Float
    score: float
    box_score: float
    seen: float
    id: int = 0
    hits: int = 1
    missed: bool = False


class Tracker:
    """Gives the people of one source ids that stay; one instance a source, frames in order.

    Parameters
    ----------
    detect_every
        Run the detector on every n-th frame at least; in between, people are looked for around
        their last keypoints.
    sure_score
        People with this score start new tracks; less sure ones only continue known tracks.
    min_oks
        Least similarity of a person to a track's prediction.
    min_hits
        Frames in which a person must be found before they are shown. Those of the first frame, and
        of the first one after a scene cut, are shown at once.
    max_lost_s
        Seconds for which a person who is not seen keeps their id.

    Raises InputError for an option out of range.
    """

    def __init__(
        self,
        detect_every: int = 1,
        *,
        sure_score: float = 0.35,
        min_oks: float = 0.1,
        min_hits: int = 2,
        max_lost_s: float = 2.0,
    ) -> None:
        if detect_every < 1 or min_hits < 1 or max_lost_s < 0:
            raise InputError("detect_every and min_hits must be at least 1, max_lost_s at least 0.")
        self.detect_every = detect_every
        self.sure_score = sure_score
        self.min_oks = min_oks
        self.min_hits = min_hits
        self.max_lost_s = max_lost_s
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids go on from where they were, so none is given twice."""
        self._tracks: list[_Track] = []
        self._changes = ChangeDetector()
        self._fresh = True
        self._since_detection = self.detect_every
        self._look_again = False
        self._now: float | None = None
        self._interval = 0.0

    def regions(self, frame: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Where people should be in the next frame, (M, 5) xyxy and score in frame pixels.

        frame: (H, W, 3) uint8. None: the detector must run on this frame, since it is its turn,
        somebody was lost or became unsure, something moves where nobody is known, or the scene has
        changed, which also ends all tracks. Call it once a frame, before `update`.
        """
        if self._changes.cut(frame):
            self._tracks = []
            self._fresh = True
            self._since_detection = self.detect_every
        self._since_detection += 1
        due = self._look_again or self._since_detection >= self.detect_every
        boxes = self._boxes(frame.shape[1], frame.shape[0])
        # A swaying tree must not call the detector on every frame.
        if not due and self._since_detection >= self.detect_every // 3:
            due = self._changes.moved_outside(boxes)
        if not due:
            return boxes
        self._since_detection = 0
        self._look_again = False
        self._changes.searched()
        return None

    def update(self, poses: Poses, *, timestamp: float, detected: bool) -> Poses:
        """The people who are shown, in the order of ``poses``, with ``ids`` (N,) int64.

        timestamp: seconds, not falling; detected: whether the detector found the boxes of
        ``poses``, or `regions` did, which starts no new track. People who have not been seen often
        enough, and unsure ones who belong to no track, are left out.
        """
        now = timestamp if self._now is None else max(timestamp, self._now)
        self._interval = 0.0 if self._now is None else now - self._now
        self._now = now
        self._tracks = [t for t in self._tracks if now - t.seen <= self.max_lost_s]
        finite = np.isfinite(poses.keypoints).all((1, 2)) & np.isfinite(poses.boxes).all(1)
        finite &= np.isfinite(poses.keypoint_scores).all(1) & np.isfinite(poses.scores)
        if not finite.all():
            poses = poses[finite]
        matched = self._match(poses, now)
        for row, track in matched.items():
            self._follow(track, poses, row, now, detected)
        followed = {id(track) for track in matched.values()}
        for track in self._tracks:
            if id(track) not in followed and not track.missed:
                track.missed = self._look_again = True
        self._tracks = [t for t in self._tracks if t.id or not t.missed]
        if detected:
            self._start(poses, matched, now)
            self._fresh = self._fresh and not len(poses)
        shown = [row for row in sorted(matched) if matched[row].id]
        ids = np.array([matched[row].id for row in shown], dtype=np.int64)
        return poses[shown].replace(ids=ids)

    def _predict(self, tracks: list[_Track], now: float) -> Float:
        """Keypoints (n, 17, 2) at the time ``now``, each person slowing down since last seen."""
        gone = np.array([now - t.seen for t in tracks])
        reach = DAMPING_S * -np.expm1(-gone / DAMPING_S)
        moved = np.array([t.velocity for t in tracks]) * reach[:, None]
        predicted: Float = np.stack([t.keypoints for t in tracks]) + moved[:, None]
        return predicted

    def _match(self, poses: Poses, now: float) -> dict[int, _Track]:
        """Row of ``poses`` -> track.

        Sure people first, with all tracks, so that somebody who is back is not taken for their
        neighbour; then unsure people, who continue only tracks of the last frame; then those who
        are back where they were last seen.
        """
        if not self._tracks or not len(poses):
            return {}
        tracks = self._tracks
        gone = np.array([now - t.seen for t in tracks])
        tolerance = np.minimum(1 + gone / TOLERANCE_S, MAX_TOLERANCE)
        predicted = self._similarity(self._predict(tracks, now), poses, tolerance)
        there = self._similarity(np.stack([t.keypoints for t in tracks]), poses, tolerance)
        sure = poses.scores >= self.sure_score
        lost = np.array([t.missed for t in tracks])
        everybody = np.ones(len(tracks), dtype=bool)
        matched: dict[int, int] = {}
        stages = ((predicted, everybody, sure), (predicted, ~lost, ~sure), (there, lost, sure))
        for similarity, known, people in stages:
            allowed = known[:, None] & people[None] & (similarity >= self.min_oks)
            # As of a density, the wider the lower: else a wide guess wins over a near neighbour.
            free = np.where(allowed, similarity / tolerance[:, None], 0)
            free[:, list(matched)] = 0
            free[list(matched.values())] = 0
            matched.update((row, index) for index, row in assign(free, 1e-9))
        return {row: tracks[index] for row, index in matched.items()}

    def _similarity(self, keypoints: Float, poses: Poses, tolerance: Float) -> Float:
        """OKS (tracks, people) of the tracks' keypoints as given, (tracks, 17, 2)."""
        tracks = self._tracks
        areas = (_area(np.stack([t.box for t in tracks]))[:, None] + _area(poses.boxes)[None]) / 2
        return cross_oks(
            keypoints,
            np.stack([t.keypoint_scores for t in tracks]),
            poses.keypoints.astype(np.float64),
            poses.keypoint_scores.astype(np.float64),
            areas,
            tolerance,
        )

    def _follow(self, track: _Track, poses: Poses, row: int, now: float, detected: bool) -> None:
        keypoints = poses.keypoints[row].astype(np.float64)
        scores = poses.keypoint_scores[row].astype(np.float64)
        elapsed = now - track.seen
        if elapsed > 0:
            weights = np.minimum(scores, track.keypoint_scores).clip(min=1e-6)
            step = (keypoints - track.keypoints) * weights[:, None] / weights.sum()
            share = -np.expm1(-elapsed / VELOCITY_S)
            track.velocity += share * (step.sum(0) / elapsed - track.velocity)
        score = float(poses.scores[row])
        if score < CONFIDENCE_DROP * track.score and not detected:
            self._look_again = True
        track.keypoints, track.keypoint_scores = keypoints, scores
        track.box = poses.boxes[row].astype(np.float64)
        track.score += 0.2 * (score - track.score)
        if detected:
            track.box_score = _box_score(poses, row)
        track.seen, track.missed = now, False
        track.hits += 1
        if not track.id and track.hits >= self.min_hits:
            self._show(track)

    def _start(self, poses: Poses, matched: dict[int, _Track], now: float) -> None:
        """New tracks for sure people without one who are no doubles of those with one."""
        rows = [r for r in range(len(poses)) if r not in matched]
        for row in rows:
            if poses.scores[row] < self.sure_score or self._is_double(poses, row, list(matched)):
                continue
            track = _Track(
                keypoints=poses.keypoints[row].astype(np.float64),
                keypoint_scores=poses.keypoint_scores[row].astype(np.float64),
                box=poses.boxes[row].astype(np.float64),
                velocity=np.zeros(2),
                score=float(poses.scores[row]),
                box_score=_box_score(poses, row),
                seen=now,
            )
            if self._fresh or self.min_hits == 1:
                self._show(track)
            self._tracks.append(track)
            matched[row] = track

    def _is_double(self, poses: Poses, row: int, others: list[int]) -> bool:
        if not others:
            return False
        area = _area(poses.boxes[[row]])[:, None] + np.zeros(len(others))
        oks = cross_oks(
            poses.keypoints[[row]],
            poses.keypoint_scores[[row]],
            poses.keypoints[others],
            poses.keypoint_scores[others],
            area,
            np.ones(1),
        )
        return bool(oks.max() > DUPLICATE_OKS)

    def _show(self, track: _Track) -> None:
        track.id = self._next_id
        self._next_id += 1

    def _boxes(self, width: int, height: int) -> Float:
        """Regions (M, 5) of the people seen in the last frame, an interval later."""
        tracks = [t for t in self._tracks if not t.missed]
        if not tracks or self._now is None:
            return np.zeros((0, 5))
        boxes = np.zeros((len(tracks), 5))
        predicted = self._predict(tracks, self._now + self._interval)
        for row, (track, keypoints) in enumerate(zip(tracks, predicted, strict=True)):
            confident = track.keypoint_scores >= CONFIDENT
            if confident.sum() >= MIN_CONFIDENT:
                low, high = keypoints[confident].min(0), keypoints[confident].max(0)
                padding = REGION_PADDING * np.maximum(high - low, 0.3 * (high - low).max())
                boxes[row, :4] = np.concatenate([low - padding, high + padding])
            else:
                boxes[row, :4] = track.box + np.tile(keypoints[0] - track.keypoints[0], 2)
            boxes[row, 4] = track.box_score
        boxes[:, 0::2][:, :2] = boxes[:, 0::2][:, :2].clip(0, width - 1)
        boxes[:, 1:4:2] = boxes[:, 1:4:2].clip(0, height - 1)
        return boxes[(boxes[:, 2] - boxes[:, 0] >= 2) & (boxes[:, 3] - boxes[:, 1] >= 2)]


def _area(boxes: NDArray[Any]) -> Float:
    size = (boxes[:, 2:4] - boxes[:, :2]).astype(np.float64).clip(min=1)
    area: Float = size.prod(1)
    return area


def _box_score(poses: Poses, row: int) -> float:
    """The detector's share of a person's score, so that scores mean the same in between."""
    mean = float(poses.keypoint_scores[row].mean())
    return min(1.0, float(poses.scores[row]) / max(mean, 1e-6))
