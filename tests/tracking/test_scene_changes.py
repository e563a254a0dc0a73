from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pcr_rt.tracking.scene_changes import ChangeDetector


@pytest.mark.parametrize("size", [(640, 480), (320, 240), (960, 540), (800, 600), (150, 100)])
def test_what_moves_in_a_box_at_the_far_corner_is_inside(size: tuple[int, int]) -> None:
    """Cells are as large for boxes as for the picture, whatever its size."""
    width, height = size
    box = np.array([0.88 * width, 0.5 * height, width, height])
    frame = np.full((height, width, 3), 60, np.uint8)
    moved = frame.copy()
    moved[round(box[1]) :, round(box[0]) :] = 200
    for boxes, outside in ((box[None], False), (np.zeros((0, 4)), True)):
        changes = ChangeDetector()
        changes.cut(frame)
        changes.searched()
        changes.cut(moved)
        assert changes.moved_outside(boxes) == outside


@pytest.mark.parametrize(
    ("shape", "part", "seen"),
    [
        ((1, 5000), np.s_[:, 3400:], True),
        ((5000, 1), np.s_[3400:], True),
        ((3, 700), np.s_[:, 500:], True),
        ((1, 1), np.s_[:], False),  # a single cell is no motion
    ],
)
def test_very_flat_frames(shape: tuple[int, int], part: Any, seen: bool) -> None:
    dark = np.zeros((*shape, 3), np.uint8)
    moved = dark.copy()
    moved[part] = 200
    nobody, everywhere = np.zeros((0, 4)), np.array([[0, 0, shape[1], shape[0]]])
    for frame, boxes, expected in (
        (np.full_like(dark, 200), nobody, False),  # the light
        (moved, everywhere, False),
        (moved, nobody, seen),
    ):
        changes = ChangeDetector()
        changes.cut(dark)
        changes.searched()
        changes.cut(frame)
        assert changes.moved_outside(boxes) == expected
