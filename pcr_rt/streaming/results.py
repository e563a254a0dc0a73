"""What a stream gives for each frame."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from pcr_rt.drawing import draw_poses
from pcr_rt.poses import Poses
from pcr_rt.streaming.clock import StageClock

__all__ = ["Result"]


class Result:
    """A frame (H, W, 3) uint8 BGR and its people; fps: what the source says of itself."""

    def __init__(
        self, frame: NDArray[np.uint8], poses: Poses, fps: float, clock: StageClock | None = None
    ) -> None:
        self.frame = frame
        self.poses = poses
        self.fps = fps
        self._clock = clock
        self._lock = threading.Lock()
        self._annotated: NDArray[np.uint8] | None = None

    def annotated(self) -> NDArray[np.uint8]:
        """The frame with its people drawn in, drawn once for all who ask; not to be changed."""
        with self._lock:
            if self._annotated is None:
                start = time.perf_counter()
                self._annotated = draw_poses(self.frame, self.poses)
                if self._clock is not None:
                    self._clock.add("draw", (time.perf_counter() - start) * 1e3)
            return self._annotated
