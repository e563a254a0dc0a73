"""Frames and clips whose content is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.media import VideoWriter

Frame = NDArray[np.uint8]
QUADRANTS = [[(200, 40, 40), (40, 200, 40)], [(40, 40, 200), (200, 200, 200)]]


def quadrants(width: int = 64, height: int = 48) -> Frame:
    """Draw blue, green; red, light grey."""
    frame = np.empty((height, width, 3), np.uint8)
    for row, line in enumerate(QUADRANTS):
        for column, colour in enumerate(line):
            rows = slice(row * height // 2, (row + 1) * height // 2 if row == 0 else None)
            columns = slice(column * width // 2, (column + 1) * width // 2 if column == 0 else None)
            frame[rows, columns] = colour
    return frame


def middles(frame: Frame) -> list[list[Any]]:
    height, width = frame.shape[:2]
    return [
        [frame[y, x] for x in (width // 4, width * 3 // 4)] for y in (height // 4, height * 3 // 4)
    ]


def write_clip(path: Path, frames: int = 12, size: tuple[int, int] = (64, 48)) -> Path:
    """Write a clip whose frame k is grey of level 20 + 15 k."""
    with VideoWriter(path, size, 25) as writer:
        for k in range(frames):
            writer.write(np.full((size[1], size[0], 3), 20 + 15 * k, np.uint8))
    return path
