"""decode_boxes and box_nms on the device against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from pcr_rt.cuda_kernels import reference
from pcr_rt.errors import InputError, ModelError

SIZES = np.array([(100, 80), (64, 200), (37, 41)])
SCALES = np.array([0.9, 0.3, 1.7])


def rtmdet(rng, batch, dtype):
    maps = []
    for side in (8, 4, 2):
        one = rng.normal(0, 12, (batch, side, side, 5))
        one[..., 0] = rng.normal(-1, 2, one.shape[:-1])
        maps.append(one.astype(dtype))
    maps[0][0, 0, 0, 0], maps[0][0, 0, 1, 2], maps[1][0, 0, 0, 3] = np.nan, np.nan, np.inf
    return maps


def yolox(rng, batch, dtype):
    rows = rng.normal(0, 1, (batch, 84, 85))  # 8 * 8 + 4 * 4 + 2 * 2 cells
    rows[..., 4:] = rng.random((batch, 84, 81))
    rows[0, 3, 2], rows[0, 4, 2], rows[0, 5, 3] = 6e4, np.nan, -np.inf
    return [rows.astype(dtype)]


def yolox_of_one_class(rng, batch, dtype):
    return [yolox(rng, batch, dtype)[0][..., :6].copy()]


def yolox_decoded(rng, batch, dtype):
    """Centre and size in input pixels; 21 of each are surely there."""
    rows = np.concatenate(
        [rng.uniform(-5, 70, (batch, 84, 2)), rng.uniform(0, 50, (batch, 84, 2))], axis=2
    )
    rows[:, 0, :4] = 21
    return [np.concatenate([rows, rng.random((batch, 84, 81))], axis=2).astype(dtype)]


def dets(rng, batch, dtype):
    corner, size = rng.uniform(-20, 60, (2, batch, 70, 2))
    rows = np.concatenate([corner, corner + size, rng.random((batch, 70, 1))], axis=-1)
    rows[0, :4, 4] = np.nan, np.inf, -np.inf, 0.7
    return [rows.astype(dtype), rng.integers(0, 2, (batch, 70))]


MAKERS = {
    "rtmdet": rtmdet,
    "yolox": yolox,
    "yolox of one class": yolox_of_one_class,
    "yolox decoded": yolox_decoded,
    "dets": dets,
}


def check(kernels, outputs, layout, **options):
    arguments = (outputs, layout, SCALES[: len(outputs[0])], SIZES[: len(outputs[0])])
    options = {"input_size": (64, 64), "score_threshold": 0.2, **options}
    with np.errstate(invalid="ignore", over="ignore"):
        expected = reference.decode_boxes(*arguments, **options)
    found = kernels.decode_boxes(*arguments, **options)
    assert len(found) == len(expected)
    for (boxes, scores), (expected_boxes, expected_scores) in zip(found, expected, strict=True):
        assert boxes.dtype == scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
        np.testing.assert_allclose(boxes, expected_boxes, rtol=1e-5, atol=1e-4)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("maker", MAKERS)
def test_layouts(kernels, maker, dtype):
    outputs = MAKERS[maker](np.random.default_rng(0), 3, dtype)
    layout = maker.partition(" ")[0]
    found = check(kernels, outputs, layout)
    assert sum(len(boxes) for boxes, _ in found) >= 20
    check(kernels, outputs, layout, max_candidates=7)
    check(kernels, outputs, layout, score_threshold=2.0)


def test_dets_without_labels(kernels):
    check(kernels, dets(np.random.default_rng(1), 2, np.float32)[:1], "dets")


def test_more_points_than_one_block_and_ties(kernels):
    rng = np.random.default_rng(2)
    rows = np.zeros((2, 700, 5), np.float32)
    rows[..., :2] = rng.uniform(0, 20, (2, 700, 2))
    rows[..., 2:4] = rows[..., :2] + 5
    rows[..., 4] = rng.integers(0, 4, (2, 700)) / 4
    check(kernels, [rows], "dets")
    check(kernels, [rows], "dets", max_candidates=300)


def test_all_frames_are_one_launch(emulated):
    outputs = rtmdet(np.random.default_rng(0), 3, np.float32)
    check(emulated, outputs, "rtmdet")
    assert emulated.launches == ["decode_boxes_float32"]
    none = [np.empty((0, 4, 4, 5), np.float32)]
    options = {"input_size": (32, 32), "score_threshold": 0.2}
    assert emulated.decode_boxes(none, "rtmdet", SCALES[:0], SIZES[:0], **options) == []
    assert emulated.launches == []


def test_a_launch_that_the_driver_refuses_is_raised_at_its_call(kernels):
    # Frames are the grid's second dimension, which has 65,535 places.
    many = [np.zeros((65536, 1, 5), np.float32)]
    ones = np.ones(65536)
    sizes = np.ones((65536, 2), int)
    with pytest.raises(Exception, match="CUDA_ERROR_INVALID_VALUE"):
        kernels.decode_boxes(many, "dets", ones, sizes, input_size=(64, 64), score_threshold=0.2)
    check(kernels, dets(np.random.default_rng(1), 2, np.float32), "dets")


def test_yolox_without_a_class_is_refused(emulated):
    for backend in (emulated, reference):
        with pytest.raises(ModelError, match="class"):
            backend.decode_boxes(
                [np.zeros((1, 84, 5), np.float32)],
                "yolox",
                SCALES[:1],
                SIZES[:1],
                input_size=(64, 64),
                score_threshold=0.2,
            )


def test_yolox_of_another_size_is_refused(emulated):
    with pytest.raises(ModelError, match="25 boxes where YOLOX gives 84 at 64x64"):
        check(emulated, [np.zeros((1, 25, 85), np.float32)], "yolox")


def random_boxes(n, seed=0):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(0, 40, (n, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return boxes, rng.choice(np.linspace(0.1, 0.9, 40), n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "max_boxes"), [(1, 9), (31, 9), (300, 60), (1000, 100), (300, 0)])
def test_nms(kernels, n, max_boxes, dtype):
    boxes, scores = random_boxes(n)
    scores = scores.astype(dtype)
    for threshold in (0.3, 0.6) if n < 1000 else (0.6,):
        expected = reference.box_nms(boxes, scores, threshold, max_boxes)
        keep = kernels.box_nms(boxes, scores, threshold, max_boxes)
        assert keep.dtype == np.intp
        np.testing.assert_array_equal(keep, expected)


def test_nms_of_special_boxes(kernels):
    boxes = np.array(
        [
            *((0, 0, 4, 4), (0, 0, 4, 2), (0, 0, 4, 4), (1, 1, 1, 1), (1, 1, 1, 1), (9, 9, 5, 5)),
            *((20, 20, np.nan, 30), (20, 20, 30, 30), (np.nan, 40, 50, 50), (40, 40, 50, 50)),
        ],
        np.float32,
    )
    scores = np.array([0.9, 0.8, 0.9, 0.5, 0.5, -0.1, 0.3, 0.2, 0.1, 0.15], np.float32)
    for threshold in (0.5, 0.49, 0.0, 1.0):  # an IoU of just the threshold is not above it
        expected = reference.box_nms(boxes, scores, threshold, 9)
        np.testing.assert_array_equal(kernels.box_nms(boxes, scores, threshold, 9), expected)


def test_nms_of_no_boxes(emulated):
    keep = emulated.box_nms(np.empty((0, 4)), np.empty(0, np.float32), 0.5, 10)
    assert keep.shape == (0,)
    assert keep.dtype == np.intp
    assert emulated.launches == []


def test_nms_refuses_integers(emulated):
    with pytest.raises(InputError, match="float32 or float64, not int64"):
        emulated.box_nms(np.ones((1, 4)), np.ones(1, np.int64), 0.5, 10)
