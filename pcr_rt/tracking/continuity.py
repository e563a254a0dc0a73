"""From single results to people who stay the same: tracking and smoothing of one source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.poses import Poses
from pcr_rt.tracking.smoother import Smoother
from pcr_rt.tracking.tracker import Tracker

__all__ = ["Continuity"]


class Continuity:
    """Ids and steady keypoints for the people of one source, frame by frame in order."""

    def __init__(self, *, track: bool, smooth: bool, detect_every: int) -> None:
        self._tracker = Tracker(detect_every=detect_every) if track else None
        self._smoother = Smoother() if track and smooth else None  # it goes by ids

    def regions(self, frame: NDArray[np.uint8]) -> NDArray[Any] | None:
        """Where to look for keypoints, (M, 5) boxes, or None: let the detector find people."""
        return None if self._tracker is None else self._tracker.regions(frame)

    def update(self, poses: Poses, *, timestamp: float, detected: bool) -> Poses:
        """The people with ids, smoothed."""
        if self._tracker is not None:
            poses = self._tracker.update(poses, timestamp=timestamp, detected=detected)
        if self._smoother is not None:
            poses = self._smoother(poses, timestamp)
        return poses
