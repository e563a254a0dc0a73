"""The validations of a run as an image: what it was chosen by, and the PCK, over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pcr_rt.media import write_image
from pcr_rt.training.trainer import Checked

__all__ = ["write_curve"]

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 50
INK, GRID = (40, 40, 40), (220, 220, 220)
COLOURS = {"value": (180, 90, 20), "pck": (40, 120, 230)}
"""BGR: blue and orange, which are told apart without colour vision too."""


def write_curve(path: Path, history: Sequence[Checked], metric: str, total: int) -> None:
    """Draw the validations of a run of ``total`` steps as a PNG of 720x420 pixels."""
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)

    def place(step: float, value: float) -> tuple[int, int]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(total, 1)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value
        return round(x), round(y)

    for part in range(6):
        value, step = part / 5, total * part / 5
        cv2.line(image, place(0, value), place(total, value), GRID, 1)
        _text(image, f"{value:.1f}", (place(0, value)[0] - 40, place(0, value)[1] + 5))
        _text(image, f"{step:.0f}", (place(step, 0)[0] - 15, HEIGHT - BOTTOM + 22))
    _text(image, "steps", (WIDTH // 2, HEIGHT - 8))
    for at, (name, label) in enumerate((("value", metric), ("pck", "PCK at 10 % of the box"))):
        points = [place(checked.step, max(getattr(checked, name), 0)) for checked in history]
        line = np.array(points, np.int32)
        cv2.polylines(image, [line], False, COLOURS[name], 2, cv2.LINE_AA)
        for point in points:
            cv2.circle(image, point, 4, COLOURS[name], -1, cv2.LINE_AA)
        corner = (LEFT + 160 * at, 18)
        cv2.circle(image, corner, 5, COLOURS[name], -1, cv2.LINE_AA)
        _text(image, label, (corner[0] + 12, corner[1] + 5))
    write_image(path, image)


def _text(image: np.ndarray, text: str, corner: tuple[int, int]) -> None:
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
