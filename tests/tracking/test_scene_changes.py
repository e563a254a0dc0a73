from __future__ import annotations

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


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1), (3, 700)])
def test_very_flat_frames(shape: tuple[int, int]) -> None:
    changes = ChangeDetector()
    for grey in (0, 200):
        changes.cut(np.full((*shape, 3), grey, np.uint8))
        changes.searched()
        assert not changes.moved_outside(np.zeros((0, 4)))
