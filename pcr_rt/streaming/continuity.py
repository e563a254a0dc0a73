"""From single results to people who stay the same: tracking and smoothing of one source."""

from __future__ import annotations

import importlib
import logging
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pcr_rt.poses import Poses

__all__ = ["Continuity"]

log = logging.getLogger(__name__)


class Tracks(Protocol):
    """What a tracker does; see `pcr_rt.streaming.tracking`."""

    def regions(self, frame: NDArray[np.uint8]) -> NDArray[Any] | None:
        """Boxes (M, 5) to look at, or None: detect people on this frame."""

    def update(self, poses: Poses, *, timestamp: float, detected: bool) -> Poses:
        """The same people with ids."""


class Smooths(Protocol):
    """What a smoother does; see `pcr_rt.streaming.smoothing`."""

    def __call__(self, poses: Poses, timestamp: float) -> Poses:
        """The same people with steadier keypoints."""


class Continuity:
    """Ids and steady keypoints for the people of one source, frame by frame in order."""

    def __init__(self, *, track: bool, smooth: bool, detect_every: int) -> None:
        self._tracker: Tracks | None = None
        self._smoother: Smooths | None = None
        if track:
            self._tracker = _make("tracking", "Tracker", detect_every=detect_every)
        if smooth and self._tracker is not None:  # it goes by ids
            self._smoother = _make("smoothing", "Smoother")

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


def _make(module: str, name: str, **options: Any) -> Any:
    try:
        home = importlib.import_module(f"pcr_rt.streaming.{module}")
    except ModuleNotFoundError:
        log.info("This installation has no %s.", module)
        return None
    return getattr(home, name)(**options)
