"""From single results to people who stay the same: tracking and smoothing of one source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pcr_rt.poses import Poses
from pcr_rt.tracking.schedule import DetectEvery
from pcr_rt.tracking.smoother import Smoother
from pcr_rt.tracking.tracker import Tracker

__all__ = ["Continuity"]

Frame = NDArray[np.uint8]


class Continuity:
    """Ids and steady keypoints for the people of one source, frame by frame in order.

    A frame goes through `regions`, then, if these are None, through `missing`, then `update`.
    """

    def __init__(self, *, track: bool, smooth: bool, detect_every: DetectEvery) -> None:
        self._tracker = Tracker(detect_every) if track else None
        self._smoother = Smoother() if track and smooth else None  # it goes by ids

    def regions(self, frame: Frame, timestamp: float) -> NDArray[np.float64] | None:
        """Say where to look for keypoints, (M, 4) boxes, or None: let the detector find people."""
        return None if self._tracker is None else self._tracker.regions(frame, timestamp)

    def missing(self, poses: Poses, frame: Frame, timestamp: float) -> NDArray[np.float64]:
        """Say where to look for known people whom the detector did not find, (M, 4) boxes."""
        if self._tracker is None:
            return np.zeros((0, 4))
        return self._tracker.missing(poses, frame, timestamp)

    def update(
        self, poses: Poses, again: Poses | None, frame: Frame, timestamp: float, *, detected: bool
    ) -> Poses:
        """Give the people with ids, smoothed; again: those found where `missing` said."""
        if self._tracker is not None:
            poses = self._tracker.update(
                poses, timestamp=timestamp, detected=detected, frame=frame, again=again
            )
        if self._smoother is not None:
            poses = self._smoother(poses, timestamp)
        return poses
