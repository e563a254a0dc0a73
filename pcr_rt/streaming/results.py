"""What a stream gives for each frame, and the clock of its stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pcr_rt.drawing import DrawOptions
from pcr_rt.poses import Poses

__all__ = ["Result", "StageClock"]


class StageClock:
    """Sum the milliseconds of each stage over all threads."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, stages: Mapping[str, float]) -> None:
        """Add milliseconds by stage."""
        with self._lock:
            for stage, milliseconds in stages.items():
                self._totals[stage] = self._totals.get(stage, 0.0) + milliseconds

    def totals(self) -> dict[str, float]:
        """Return the milliseconds so far by stage, a copy."""
        with self._lock:
            return dict(self._totals)


class Result:
    """A frame (H, W, 3) uint8 BGR and its people.

    fps: the rate that its source claims. drawing: how its people are drawn.
    """

    def __init__(
        self,
        frame: NDArray[np.uint8],
        poses: Poses,
        fps: float,
        clock: StageClock | None = None,
        drawing: DrawOptions | None = None,
    ) -> None:
        self.frame = frame
        self.poses = poses
        self.fps = fps
        self.drawing: DrawOptions = drawing or {}
        self._clock = clock
        self._lock = threading.Lock()
        self._annotated: NDArray[np.uint8] | None = None

    def annotated(self) -> NDArray[np.uint8]:
        """Draw the people into a copy of the frame, once for all who ask; not to be changed."""
        with self._lock:
            if self._annotated is None:
                start = time.perf_counter()
                self._annotated = self.poses.draw(self.frame, **self.drawing)
                if self._clock is not None:
                    self._clock.add({"draw": (time.perf_counter() - start) * 1e3})
            return self._annotated
