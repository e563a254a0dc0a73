"""What changed between frames, seen on a thumbnail: scene cuts, motion outside regions, pans."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChangeDetector"]

CELLS = 64  # along the longer side, some more where that makes their size even
CUT_CORRELATION = 0.4
CUT_DIFFERENCE = 12.0  # grey levels
MOTION_DIFFERENCE = 18.0  # grey levels
MOTION_CELLS = 6
CAMERA_DIFFERENCE = 3.5  # grey levels, of most cells: 2.5 where people fill half the image


class ChangeDetector:
    """Compares each frame with the one before and with the last one that the detector saw."""

    def __init__(self) -> None:
        self.camera_moves = False
        """Whether most of the image changed between the detector's last two frames."""
        self._last: NDArray[np.float32] | None = None
        self._searched: NDArray[np.float32] | None = None
        self._covered: NDArray[np.bool_] | None = None
        self._cell = 1

    def cut(self, frame: NDArray[np.uint8]) -> bool:
        """Look at the next frame, (H, W, 3) uint8: whether it shows another scene than the last.

        Another scene differs in its structure (normalised correlation), so that a flash or a light
        switched on is none. A frame of another size is one.
        """
        cell = -(-max(frame.shape[:2]) // CELLS)
        self._cell = max(1, cell // 2 * 2)  # of two samples a side
        last, self._last = self._last, _thumbnail(frame, self._cell)
        if last is None:
            return False
        if last.shape != self._last.shape:
            return True
        if np.abs(self._last - last).mean() < CUT_DIFFERENCE:
            return False
        a, b = self._last - self._last.mean(), last - last.mean()
        norm = np.sqrt((a**2).sum() * (b**2).sum())
        return bool((a * b).sum() < CUT_CORRELATION * norm)

    def searched(self) -> None:
        """The last frame is being searched by the detector: motion is counted from here on."""
        before, self._searched = self._searched, self._last
        self._covered = None
        if before is not None and self._last is not None and before.shape == self._last.shape:
            change = self._last - before
            change -= np.median(change)  # the light, or the camera's exposure
            self.camera_moves = bool(np.median(np.abs(change)) > CAMERA_DIFFERENCE)

    def moved_outside(self, boxes: NDArray[Any]) -> bool:
        """Whether something moved since the search where none of the boxes (M, 4+) has been."""
        if self._last is None or self._searched is None:
            return False
        if self._covered is None:
            self._covered = np.zeros(self._last.shape, dtype=bool)
        for x1, y1, x2, y2 in (boxes[:, :4] / self._cell).tolist():
            margin_x, margin_y = 0.15 * (x2 - x1) + 1, 0.1 * (y2 - y1) + 1
            rows = slice(max(0, int(y1 - margin_y)), max(0, int(y2 + margin_y) + 1))
            columns = slice(max(0, int(x1 - margin_x)), max(0, int(x2 + margin_x) + 1))
            self._covered[rows, columns] = True
        change = self._last - self._searched
        change -= np.median(change)  # the light, or the camera's exposure
        moved = (np.abs(change) > MOTION_DIFFERENCE) & ~self._covered
        return int(moved.sum()) >= MOTION_CELLS


def _thumbnail(frame: NDArray[np.uint8], cell: int) -> NDArray[np.float32]:
    """The green channel in cells of ``cell`` pixels, each the mean of up to 2x2 samples."""
    step = max(1, cell // 2)
    top, left = (min(step // 2, side - 1) for side in frame.shape[:2])
    half: NDArray[Any] = frame[top::step, left::step, 1].astype(np.float32)
    if cell < 2:
        return half
    height, width = max(2, half.shape[0] // 2 * 2), max(2, half.shape[1] // 2 * 2)
    if min(half.shape) < 2:
        half = np.pad(half, (0, 1), mode="edge")
    rows = half[:height:2] + half[1:height:2]
    thumbnail: NDArray[np.float32] = (rows[:, :width:2] + rows[:, 1:width:2]) * np.float32(0.25)
    return thumbnail
