"""Coordinates by hand and through OpenCV's inverse."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pcr_rt.geometry import (
    apply_transform,
    box_iou,
    box_to_region,
    clip_boxes,
    crop_transform,
    heatmap_to_input,
    invert_transform,
    mirrored_crop,
    pad_to_aspect,
)

SIZE = (192, 256)
HEATMAP = (48, 64)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # 30x40 has the aspect 3:4 already.
        ([10, 20, 40, 60], (37.5, 50.0)),
        # Too wide: the height grows to 60 / 0.75 = 80.
        ([0, 0, 60, 10], (75.0, 100.0)),
        # Too tall: the width grows to 100 x 0.75 = 75.
        ([0, 0, 10, 100], (93.75, 125.0)),
    ],
)
def test_region_has_the_aspect_and_the_padding(
    box: list[float], expected: tuple[float, float]
) -> None:
    centre, region = box_to_region([box], 0.75)
    np.testing.assert_allclose(region[0], expected)
    np.testing.assert_allclose(centre[0], [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


@pytest.mark.parametrize(("transform", "last"), [("udp", (191.0, 255.0)), ("msra", (192.0, 256.0))])
def test_crop_spans_the_region(transform: str, last: tuple[float, float]) -> None:
    """x = cx + (u / span - 1/2) bw: u = 0 is the region's left border, u = span its right one."""
    matrix = crop_transform([[100, 50]], [[60, 80]], SIZE, transform)
    corners = apply_transform(matrix, [[[0, 0], last]])[0]
    np.testing.assert_allclose(corners, [[70, 10], [130, 90]])


def test_rotation_turns_about_the_centre() -> None:
    matrix = crop_transform([[100, 50]], [[60, 160]], SIZE, "udp", np.pi / 2)
    middle, right, bottom = [95.5, 127.5], [191, 127.5], [95.5, 255]
    points = apply_transform(matrix, [[middle, right, bottom]])[0]
    # The crop's right-hand side points down in the frame, its bottom to the left.
    np.testing.assert_allclose(points, [[100, 50], [100, 80], [20, 50]], atol=1e-9)


def test_several_at_once() -> None:
    boxes = [[10, 20, 40, 60], [0, 0, 60, 10]]
    centre, region = box_to_region(boxes, 0.75, padding=2)
    np.testing.assert_allclose(centre, [[25, 40], [30, 5]])
    np.testing.assert_allclose(region, [[60, 80], [120, 160]])
    np.testing.assert_allclose(
        pad_to_aspect([[30, 10], [10, 40], [6, 8]], 0.75), [[30, 40], [30, 40], [6, 8]]
    )
    left_top = apply_transform(crop_transform(centre, region, SIZE, "udp"), [[0, 0]])
    np.testing.assert_allclose(left_top[:, 0], [[-5, 0], [-30, -75]], atol=1e-9)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [("udp", (191 / 47, 255 / 63)), ("msra", (4.0, 4.0))],
)
def test_heatmap_step(transform: str, expected: tuple[float, float]) -> None:
    np.testing.assert_allclose(heatmap_to_input(HEATMAP, SIZE, transform), expected)


@pytest.mark.parametrize("transform", ["udp", "msra"])
def test_mirrored_heatmap_samples_coincide(transform: str) -> None:
    """Sample v of the mirrored view lies where sample w - 1 - v of the plain view lies."""
    plain = crop_transform([[33, 44]], [[90, 120]], SIZE, transform)
    mirrored = mirrored_crop(plain, SIZE, HEATMAP, transform)
    step = heatmap_to_input(HEATMAP, SIZE, transform)
    samples = np.stack(np.meshgrid(np.arange(48.0), [0.0, 5.0, 63.0]), -1).reshape(1, -1, 2)
    turned = samples.copy()
    turned[..., 0] = 47 - samples[..., 0]
    np.testing.assert_allclose(
        apply_transform(mirrored, samples * step), apply_transform(plain, turned * step)
    )


def test_inverse_equals_opencv() -> None:
    matrix = crop_transform([[33, 44]], [[90, 120]], SIZE, "udp", 0.4)
    np.testing.assert_allclose(invert_transform(matrix)[0], cv2.invertAffineTransform(matrix[0]))


def test_clip_by_hand() -> None:
    boxes = [[-5, -3, 30, 9], [25, 2, 30, 40], [1, 12, 2, 15]]
    clipped = clip_boxes(boxes, 20, 10)
    np.testing.assert_array_equal(clipped, [[0, 0, 20, 9], [20, 2, 20, 10], [1, 10, 2, 10]])


def test_iou_by_hand() -> None:
    iou = box_iou([[0, 0, 2, 2]], [[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 0, 0]])
    np.testing.assert_allclose(iou, [[1 / 7, 1, 0, 0]])
    # Boxes of 3x2 and 1x5 with boxes of 2x3 and 1x3: they share 1x2, 1x2, nothing and 1x1.
    iou = box_iou([[10, 20, 13, 22], [11, 21, 12, 26]], [[12, 20, 14, 23], [11, 19, 12, 22]])
    np.testing.assert_allclose(iou, [[2 / 10, 2 / 7], [0, 1 / 7]])
    np.testing.assert_allclose(box_iou([[0, 0, 0.5, 0.5]], [[0, 0, 0.5, 0.5]]), [[1]])
    np.testing.assert_array_equal(box_iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]), [[0]])
