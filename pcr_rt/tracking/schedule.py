"""When the detector must look at a frame, and when it can be spared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.tracking.scene_changes import ChangeDetector

__all__ = ["DetectEvery", "Schedule", "parse_interval"]

DetectEvery = int | str
"""Every so many frames, or so many seconds of the source's own time, as in ``"0.5s"``."""

SLACK_S = 1e-3
"""Timestamps are rounded: a frame that is due within a millisecond is due."""


def parse_interval(detect_every: DetectEvery) -> tuple[int, float]:
    """Read frames and seconds, one of which is 0. Raises InputError for anything else."""
    text = str(detect_every)
    number = text.removesuffix("s")
    try:
        if number == text and int(text) > 0:
            return int(text), 0.0
        if number != text and 0 < float(number) < math.inf:
            return 0, float(number)
    except ValueError:
        pass
    raise InputError(
        f"detect_every is {detect_every!r}: give a positive number of frames, or a time as in"
        " '0.5s'."
    )


class Schedule:
    """Decides frame by frame, in order, whether the detector must run."""

    def __init__(self, detect_every: DetectEvery) -> None:
        self._frames, self._seconds = parse_interval(detect_every)
        self._changes = ChangeDetector()
        self._since = 0
        self._last = 0.0
        self._hurry = True

    @property
    def camera_moves(self) -> bool:
        """Whether most of the image changed between the detector's last two frames."""
        return self._changes.camera_moves

    def hurry(self) -> None:
        """Ask for the detector on the next frame."""
        self._hurry = True

    def cut(self, frame: NDArray[np.uint8]) -> bool:
        """Whether the next frame shows another scene than the last; the detector is due then."""
        cut = self._changes.cut(frame)
        if cut:
            self.hurry()
        return cut

    def due(self, timestamp: float, boxes: NDArray[Any]) -> bool:
        """Whether the detector must look at the frame that `cut` has just seen.

        timestamp: seconds; boxes: (M, 4+) of the people who are followed. Motion elsewhere calls
        the detector, but not before a third of the interval: a swaying tree must not do so on
        every frame.
        """
        self._since += 1
        due = self._hurry or self._passed(timestamp, 1)
        if not due and self._passed(timestamp, 3):
            due = self._changes.moved_outside(boxes)
        if due:
            self._since, self._last, self._hurry = 0, timestamp, False
            self._changes.searched()
        return due

    def _passed(self, timestamp: float, part: int) -> bool:
        """Whether 1/part of the interval has passed; a clock that runs back starts it anew."""
        if self._frames:
            return self._since >= self._frames // part
        elapsed = timestamp - self._last
        return elapsed < 0 or elapsed >= self._seconds / part - SLACK_S
