from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pcr_rt.tracking.scene_changes import ChangeDetector


@pytest.mark.parametrize("size", [(640, 480), (320, 240), (960, 540), (800, 600), (150, 100)])
def test_what_moves_in_a_box_at_the_far_corner_is_inside(size: tuple[int, int]) -> None:
    """Cells are as large for boxes as for the image, whatever its size."""
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


def grey(value: int = 100, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    """A frame so small that each of its pixels is a cell, unless another shape is given."""
    return np.full((*shape, 3), value, np.uint8)


def cuts(*frames: np.ndarray) -> list[bool]:
    changes = ChangeDetector()
    return [changes.cut(frame) for frame in frames]


def test_a_cut_needs_a_mean_difference_of_12_grey_levels() -> None:
    signs = np.random.default_rng(0).permutation([1, -1] * 2048).reshape(64, 64, 1)
    for amplitude, cut in ((5, False), (6, True)):  # turned round: 10 or 12 levels, correlation -1
        one, other = (
            (100 + s * amplitude * signs).astype(np.uint8).repeat(3, axis=2) for s in (1, -1)
        )
        assert cuts(one, one, other) == [False, False, cut]


@pytest.mark.parametrize(("same", "cut"), [(0.68, True), (0.72, False)])
def test_a_cut_needs_a_correlation_below_0_4(same: float, cut: bool) -> None:
    # Where a share p of +-1 keeps its sign, the correlation is 2 p - 1: 0.36 and 0.44.
    signs = np.array([1, -1] * 2048)
    keep = np.where(np.arange(4096) // 2 < same * 2048, 1, -1)
    one, other = (
        (100 + level * s).astype(np.uint8).reshape(64, 64, 1).repeat(3, axis=2)
        for level, s in ((40, signs), (80, signs * keep))
    )
    assert cuts(one, other) == [False, cut]
    brighter = (other.astype(int) + 60).astype(np.uint8)  # light that is switched on
    assert cuts(one, brighter) == [False, cut]


def test_another_size_is_a_cut_and_so_is_no_first_frame() -> None:
    assert cuts(grey(), grey(shape=(64, 48)), grey(shape=(64, 48))) == [False, True, False]


def moved(frame: np.ndarray, boxes: list[list[float]], before: np.ndarray | None = None) -> bool:
    changes = ChangeDetector()
    assert changes.moved_outside(np.zeros((0, 4))) is False  # nothing has been seen yet
    changes.cut(grey(shape=frame.shape[:2]) if before is None else before)
    assert changes.moved_outside(np.zeros((0, 4))) is False  # nor searched
    changes.searched()
    changes.cut(frame)
    return changes.moved_outside(np.array(boxes, float).reshape(-1, 4))


def test_motion_is_six_cells_of_more_than_18_levels_of_green() -> None:
    for cells, level, channel, expected in (
        (6, 19, 1, True),
        (6, 18, 1, False),
        (5, 19, 1, False),
        (6, -19, 1, True),
        (6, 99, 0, False),
        (6, 99, 2, False),
    ):
        frame = grey()
        frame[10, 20 : 20 + cells, channel] = 100 + level
        assert moved(frame, []) == expected, (cells, level, channel)


def test_a_box_covers_its_margins_by_hand() -> None:
    # 20 x 20 pixels of one cell each: 0.15 x 20 + 1 columns, 0.1 x 20 + 1 rows at each side.
    box = [[20.0, 20.0, 40.0, 40.0]]
    for row, column, outside in (
        (slice(28, 34), 16, False),
        (slice(28, 34), 15, True),
        (slice(28, 34), 44, False),
        (slice(28, 34), 45, True),
        (17, slice(28, 34), False),
        (16, slice(28, 34), True),
        (43, slice(28, 34), False),
        (44, slice(28, 34), True),
    ):
        frame = grey()
        frame[row, column] = 200
        assert moved(frame, box) == outside, (row, column)
    frame = grey()
    frame[0, :6] = 200
    assert moved(frame, [[-30.0, -30.0, -20.0, -20.0]])  # a box outside covers nothing
    assert not moved(frame, [[-30.0, -30.0, 6.0, 6.0]])


def test_cells_of_ten_pixels_by_hand() -> None:
    # 640 / 64: cells of 10 pixels, each the mean of samples at 2 and 7 along both sides.
    for rows, columns, level, expected in (
        (slice(0, 10), slice(0, 60), 119, True),
        (slice(0, 10), slice(0, 50), 119, False),
        (slice(7, 8), slice(0, 60), 138, True),  # half of the samples: 19 on the mean
        (slice(7, 8), slice(0, 60), 136, False),  # 18
        (slice(3, 7), slice(0, 60), 255, False),  # between the samples
        (slice(2, 3), slice(57, 200), 138, True),
    ):
        frame = grey(shape=(480, 640))
        frame[rows, columns] = level
        assert moved(frame, []) == expected, (rows, columns, level)


def test_what_a_person_has_walked_over_since_the_search_counts_as_covered() -> None:
    changes = ChangeDetector()
    changes.cut(grey())
    changes.searched()
    frame = grey()
    frame[30, 30:36] = 200
    changes.cut(frame)
    here, away = np.array([[28.0, 28, 38, 38]]), np.array([[2.0, 2, 6, 6]])
    assert not changes.moved_outside(here)
    assert not changes.moved_outside(away)  # they have gone on
    changes.searched()
    changes.cut(grey())
    assert changes.moved_outside(away)  # a new search, a new account


@pytest.mark.parametrize(("width", "seen"), [(192, True), (194, False)])
def test_there_are_64_cells_a_side_or_fewer(width: int, seen: bool) -> None:
    """192 / 64 = 3 pixels, made even: 2, so 8 x 8 pixels are 16 cells; of 4 pixels they are 4."""
    before = grey(shape=(100, width))
    frame = before.copy()
    frame[40:48, 40:48] = 200
    assert moved(frame, [], before) == seen


def test_a_small_frame_has_cells_of_one_pixel_and_a_larger_one_of_two() -> None:
    for side, seen in ((64, True), (65, False)):
        before = grey(shape=(side, side))
        frame = before.copy()
        frame[20:22, 20:23] = 200
        assert moved(frame, [], before) == seen


def test_light_on_flat_frames_is_no_cut() -> None:
    assert cuts(grey(50), grey(150)) == [False, False]


def test_boxes_may_have_scores_and_lie_outside() -> None:
    frame = grey()
    frame[0, 10:30] = 200
    assert moved(frame, [[0, 0, 64, 10, 0.9]][:0]) is True
    changes = ChangeDetector()
    changes.cut(grey())
    changes.searched()
    changes.cut(frame)
    assert changes.moved_outside(np.array([[0, -90, 64, -50, 0.9]])) is True
    assert changes.moved_outside(np.array([[0, 0, 64, 10, 0.9]])) is False
    upright = frame.swapaxes(0, 1)
    assert moved(upright, [[-90, 0, -50, 64]]) is True
    assert moved(upright, [[0, 0, 10, 64]]) is False


def test_what_stands_still_is_no_motion_however_structured() -> None:
    frame = grey(40)
    frame[:, 40:] = 200
    assert moved(frame, [], frame) is False


@pytest.mark.parametrize(("row", "seen"), [(0, False), (1, True)])
def test_two_rows_are_sampled_at_the_second(row: int, seen: bool) -> None:
    """300 / 64 pixels make cells of 4, with samples 2 apart from the second pixel on."""
    before = grey(shape=(2, 300))
    frame = before.copy()
    frame[row, 100:140] = 200
    assert moved(frame, [], before) == seen


@pytest.mark.parametrize(("row", "seen"), [(3, True), (5, False)])
def test_samples_that_fill_no_cell_are_left_out(row: int, seen: bool) -> None:
    """Six rows are sampled at 1, 3 and 5, of which the first two make a row of cells."""
    before = grey(shape=(6, 300))
    frame = before.copy()
    frame[row, 100:140] = 250
    assert moved(frame, [], before) == seen
    assert moved(frame.swapaxes(0, 1), [], before.swapaxes(0, 1)) == seen


@pytest.mark.parametrize(("levels", "seen"), [(18, False), (19, True)])
@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
def test_a_frame_of_one_row_or_column_shows_motion_as_others_do(
    shape: tuple[int, int], levels: int, seen: bool
) -> None:
    frame = grey(shape=shape)
    frame.reshape(-1, 3)[24:48] += np.uint8(levels)  # six cells of four pixels
    assert moved(frame, []) is seen


HALVES = np.where(np.arange(64) % 2, 1, -1) * np.ones((64, 1), int)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (np.zeros((64, 64), int), False),
        (np.full((64, 64), 60), False),  # the light
        (60 * np.tri(64, 64, -20, int), False),  # somebody large walks
        (3 * HALVES, False),
        (HALVES * np.repeat([[3], [4]], 32, 0), False),  # 3.5 levels are not more than that
        (4 * HALVES, True),
        (4 * HALVES + 50, True),
    ],
)
def test_the_camera_moves_if_most_of_the_image_changes(change: np.ndarray, expected: bool) -> None:
    changes = ChangeDetector()
    structured = grey() + 20 * HALVES.T[..., None]
    for frame in (structured, structured + change[..., None]):
        changes.cut(frame.astype(np.uint8))
        assert not changes.camera_moves
        changes.searched()
    assert changes.camera_moves is expected
    changes.cut(grey(shape=(48, 64)))
    changes.searched()  # of another size, which says nothing
    assert changes.camera_moves is expected
