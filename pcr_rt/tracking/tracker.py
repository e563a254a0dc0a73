"""People who keep their id from frame to frame, and where to look for them in the next frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.geometry import box_iou
from pcr_rt.poses import Poses
from pcr_rt.tracking.appearance import updated
from pcr_rt.tracking.association import doubles, match
from pcr_rt.tracking.meetings import Meetings
from pcr_rt.tracking.people import CONTACT_IOU, LIMITS, People, finite, joined
from pcr_rt.tracking.schedule import DetectEvery, Schedule
from pcr_rt.tracking.track import SEARCH_S, Track, predicted_boxes, search_regions

__all__ = ["Tracker"]

Float = NDArray[np.float64]
Frame = NDArray[np.uint8]

FRAME_S = 2.0
"""Who was seen in the last frame is known in the next one, unless it comes later than this."""


class Tracker:
    """Gives the people of one source ids that stay; one instance a source, frames in order.

    Parameters
    ----------
    detect_every
        Run the detector on every n-th frame at least, or every so many seconds of the source's
        own time (``"0.5s"``); in between, people are looked for around their predicted places.
    start_score
        People with this score start new tracks; less sure ones only continue known tracks. None:
        a probability of 0.5, or a raw score of 0.14.
    min_oks
        Least similarity of a person to a track's prediction.
    min_hits
        Frames running in which a person must be found before they are shown. Those of the first
        frame, and of the first one after a scene cut, are shown at once.
    max_lost_s
        Seconds within which a person who returns gets their old id, if place and appearance agree.

    Raises
    ------
    InputError
        For an option out of range.
    """

    def __init__(
        self,
        detect_every: DetectEvery = 1,
        *,
        start_score: float | None = None,
        min_oks: float = 0.1,
        min_hits: int = 2,
        max_lost_s: float = 2.0,
    ) -> None:
        if min_hits < 1 or not max_lost_s >= 0:
            raise InputError("min_hits must be at least 1, max_lost_s at least 0.")
        self.detect_every = detect_every
        self.start_score = start_score
        self.min_oks = min_oks
        self.min_hits = min_hits
        self.max_lost_s = max_lost_s
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids go on from where they were, so none is given twice."""
        self._tracks: list[Track] = []
        self._schedule = Schedule(self.detect_every)
        self._meetings = Meetings()
        self._looked_at: People | None = None
        self._fresh = True
        self._now = -math.inf

    def regions(self, frame: Frame, timestamp: float) -> Float | None:
        """Say where people should be in the next frame: boxes (M, 4) xyxy in frame pixels.

        frame: (H, W, 3) uint8; timestamp: seconds. None: the detector must run on this frame,
        since it is its turn, somebody was lost, something moves where nobody is known, or the
        scene has changed, which also ends all tracks. Call it once a frame, before `update`.
        """
        if self._schedule.cut(frame):
            self._tracks = []
            self._fresh = True
        now = max(timestamp, self._now)
        searched = [track for track in self._tracks if now - track.seen <= SEARCH_S]
        regions = search_regions(searched, now, frame)
        return None if self._schedule.due(timestamp, regions) else regions

    def missing(self, poses: Poses, frame: Frame, timestamp: float) -> Float:
        """Say where to look for known people whom the detector did not find: boxes (M, 4).

        poses: the people of the detector's boxes. What is found in the regions goes to `update`
        as ``again``. Those who may still get their id back are looked for, too: somebody may stand
        half hidden where they were lost.
        """
        now = max(timestamp, self._now)
        poses = finite(poses)
        self._looked_at = People.of(poses, frame, len(poses))
        found = self._match(self._looked_at, now).values()
        ids = {track.id for track in found}
        return search_regions([t for t in self._tracks if t.id and t.id not in ids], now, frame)

    def update(
        self,
        poses: Poses,
        *,
        timestamp: float,
        detected: bool,
        frame: Frame | None = None,
        again: Poses | None = None,
    ) -> Poses:
        """Give the people who are shown, with ``ids`` (N,) int64, in the order of the rows.

        timestamp: seconds; one that is lower than the last counts as the last. detected: whether
        the detector found the boxes of ``poses``, or `regions` did, which starts no new track.
        frame: (H, W, 3) uint8, for people's appearance; without it, place alone decides. again:
        who was found where `missing` said, rows after those of ``poses``.

        People who have not been seen often enough, and unsure ones who belong to no track, are
        left out. Boxes are around the keypoints, padded as labels are, and steady.
        """
        now = self._now = max(timestamp, self._now)
        self._tracks = [t for t in self._tracks if now - t.seen <= self._memory_s(t)]
        poses = finite(poses)
        from_detector = len(poses) if detected else 0
        if again is not None:
            poses = _with_new_ones(poses, finite(again))
        people, self._looked_at = self._looked_at, None
        if people is None or people.poses is not poses:  # `missing` has not seen the same people
            people = People.of(poses, frame, from_detector)
        matched = self._match(people, now)
        self._meetings.update(matched, self._tracks, people, now)
        mixed = self._mixed(people, matched, now)
        _learn_looks(people, {row: track for row, track in matched.items() if not mixed[row]})
        for row, track in matched.items():
            track.follow(people, row, now, mixed=bool(mixed[row]))
            if not track.id and track.hits >= self.min_hits:
                self._show(track)
        self._forget_unseen(now)
        if detected:
            self._start(people, matched, now)
            self._fresh = self._fresh and not len(poses)
        rows = [row for row in sorted(matched) if matched[row].id]
        ids = np.array([matched[row].id for row in rows], dtype=np.int64)
        boxes = np.array([matched[row].box for row in rows]).reshape(-1, 4)
        if poses.image_size is not None:
            boxes = boxes.clip(0, np.array(poses.image_size * 2) - 1)
        return poses[rows].replace(ids=ids, boxes=boxes)

    def _memory_s(self, track: Track) -> float:
        """Say how long to keep a track after it was seen last."""
        if not track.missed:
            return max(self.max_lost_s, FRAME_S)  # the time between two frames may be long
        # Who was there for a moment only may have been nobody.
        return min(self.max_lost_s, SEARCH_S + 2 * (track.seen - track.born))

    def _least(self, poses: Poses) -> float:
        return LIMITS[poses.score_kind].start if self.start_score is None else self.start_score

    def _match(self, people: People, now: float) -> dict[int, Track]:
        return match(
            self._tracks,
            people,
            now,
            start_score=self._least(people.poses),
            min_oks=self.min_oks,
            camera_moves=self._schedule.camera_moves,
        )

    def _mixed(self, people: People, matched: dict[int, Track], now: float) -> NDArray[np.bool_]:
        """Tell which rows (N,) overlap the place of a known person whom no row shows."""
        seen = set(matched.values())
        hidden = [track for track in self._tracks if track.id and track not in seen]
        if not hidden:
            return np.zeros(len(people.poses), dtype=bool)
        overlaps = box_iou(predicted_boxes(hidden, now), people.boxes) > CONTACT_IOU
        mixed: NDArray[np.bool_] = np.any(overlaps, axis=0)
        return mixed

    def _forget_unseen(self, now: float) -> None:
        """Note who is missed, and drop those who were not shown yet."""
        for track in self._tracks:
            if track.seen < now and not track.missed:
                track.missed = True
                self._schedule.hurry()
        self._tracks = [t for t in self._tracks if t.id or not t.missed]

    def _start(self, people: People, matched: dict[int, Track], now: float) -> None:
        """Begin tracks of sure people who have none and are no doubles of those who have one."""
        least = self._least(people.poses)
        rows = [r for r in range(people.from_detector) if r not in matched]
        rows = [r for r in rows if people.poses.scores[r] >= least]
        again = set(doubles(people.poses, rows, list(matched)))
        for row in rows:
            if row in again:
                continue
            track = Track.begin(people, row, now)
            if self._fresh or self.min_hits == 1:
                self._show(track)
            self._tracks.append(track)
            matched[row] = track

    def _show(self, track: Track) -> None:
        track.id = self._next_id
        self._next_id += 1


def _learn_looks(people: People, matched: dict[int, Track]) -> None:
    """Update the appearance of everybody who is seen."""
    rows = list(matched)
    if rows:
        known = np.array([matched[row].appearance for row in rows])
        for row, looks in zip(rows, updated(known, people.looks[rows]), strict=True):
            matched[row].appearance = looks


def _with_new_ones(poses: Poses, again: Poses) -> Poses:
    """The detector's people and, after them, those found again who are nobody of these."""
    both = joined(poses, again)
    known, new = range(len(poses)), range(len(poses), len(both))
    dropped = set(doubles(both, new, known))
    return both[[row for row in range(len(both)) if row not in dropped]]
