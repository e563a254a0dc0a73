"""crop_persons and letterbox on the device against the reference and exact interpolation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device_arrays import OnDevice, Prepared
from pcr_rt.cuda_kernels import reference
from pcr_rt.errors import InputError
from pcr_rt.geometry import box_to_region, crop_transform

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
GREY = 0.05
"""Grey levels by which a kernel may differ from the reference."""


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


MATRICES = np.array(
    [
        [[1, 0, 0], [0, 1, 0]],
        [[2.31, 0, 0.4], [0, 1.73, 1.1]],
        [[0.37, 0, 5.2], [0, 0.41, 4.9]],
        [[-1.3, 0, 22.6], [0, 1.2, 0.3]],
        [[1.1, 0, -6.7], [0, 1.3, -4.45]],
        [[3.3, 0, -9.1], [0, 3.7, -8.2]],
        [[1, 0, 1e12], [0, 1, -1e12]],
        [[0.9, -0.7, 8.3], [0.6, 0.8, -2.1]],
        [[-2.5, 1.5, 14.4], [1.1, 2.9, -9.9]],
        [[1e7, 0, -3], [0, 1e9, 2]],
    ]
)


@pytest.mark.parametrize("size", [(16, 12), (13, 11), (1, 1), (33, 3)])
@pytest.mark.parametrize("rgb", [True, False])
def test_crops(kernels, size, rgb):
    frames = [noise(19, 27), noise(7, 50, 1)]
    index = np.arange(len(MATRICES)) % 2
    found = kernels.crop_persons(frames, index, MATRICES, size, **PLAIN, rgb=rgb)
    expected = reference.crop_persons(frames, index, MATRICES, size, **PLAIN, rgb=rgb)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=GREY)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_frames_of_few_columns(kernels, width):
    # Pairs of pixels are read as words where there are neighbours, byte by byte where not.
    frame = noise(6, width)
    matrix = np.array([[[0.31, 0.02, -1.5], [0.05, 0.7, -1.2]]])
    size = (4 * width + 9, 12)
    found = kernels.crop_persons([frame], np.zeros(1, int), matrix, size, **PLAIN)
    expected = reference.crop_persons([frame], np.zeros(1, int), matrix, size, **PLAIN)
    np.testing.assert_allclose(found, expected, atol=GREY)


def test_far_coordinates_stay_exact(kernels):
    frame = np.zeros((8, 7500, 3), np.uint8)
    frame[:, ::2] = 255
    matrix = crop_transform([[7000 + 1 / 3, 4]], [[5, 5]], (6, 6), "udp", 0.5)
    found = kernels.crop_persons([frame], np.zeros(1, int), matrix, (6, 6), **PLAIN)
    expected = reference.crop_persons([frame], np.zeros(1, int), matrix, (6, 6), **PLAIN)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_half_precision_is_within_one_more_ulp(kernels):
    matrices = crop_transform([[20, 15], [3, 30]], [[24, 32]] * 2, (24, 32), "udp", [0, 0.3])
    arguments = ([noise(40, 60)], np.zeros(2, int), matrices, (24, 32))
    found = kernels.crop_persons(*arguments, **IMAGENET, dtype=np.float16)
    expected = reference.crop_persons(*arguments, **IMAGENET)
    assert found.dtype == np.float16
    ulp = np.spacing(np.abs(expected).astype(np.float16)).astype(np.float32)
    assert (np.abs(found - expected) <= GREY / 57 + ulp).all()


def test_crop_agrees_with_opencv(kernels):
    smooth = cv2.GaussianBlur(noise(150, 200).astype(np.float32), (0, 0), 4)
    frame = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    centre, region = box_to_region([[40, 20, 125, 120]], 0.75)
    matrix = crop_transform(centre, region, (48, 64), "udp", 0.6)
    crop = kernels.crop_persons([frame], np.zeros(1, int), matrix, (48, 64), **PLAIN, rgb=False)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(frame, matrix[0], (48, 64), flags=flags).astype(np.float64)
    difference = np.abs(crop[0].transpose(1, 2, 0) - expected)
    assert difference.mean() <= 0.3
    assert (difference <= 1.5).mean() >= 0.999


VIEWS = {
    "with a pitch": np.s_[:, 3:50],
    "upside down": np.s_[::-1],
    "every other column": np.s_[:, ::2],
    "channels reversed": np.s_[..., ::-1],
}


@pytest.mark.parametrize("view", VIEWS)
def test_views_on_the_device(kernels, view):
    frame = noise(40, 61)
    there = OnDevice(frame, VIEWS[view])
    matrices = crop_transform([[14, 11]], [[12, 16]], (9, 12), "udp")
    found = kernels.crop_persons([there], np.zeros(1, int), matrices, (9, 12), **PLAIN)
    arguments = ([frame[VIEWS[view]]], np.zeros(1, int), matrices, (9, 12))
    np.testing.assert_allclose(found, reference.crop_persons(*arguments, **PLAIN), atol=GREY)


def exact_letterbox(frame, size):
    """Bilinear at half-pixel centres in float64, the border repeated; fill 114."""
    scale = min(size[0] / frame.shape[1], size[1] / frame.shape[0])
    target = [max(round(frame.shape[i] * scale), 1) for i in (0, 1)]
    places = [
        ((np.arange(t) + 0.5) * length / t - 0.5).clip(0, length - 1)
        for t, length in zip(target, frame.shape, strict=False)
    ]
    weights = [
        np.maximum(0, 1 - np.abs(p[:, None] - np.arange(length)))
        for p, length in zip(places, frame.shape, strict=False)
    ]
    image = np.full((3, size[1], size[0]), 114.0)
    image[:, : target[0], : target[1]] = np.einsum("vy,yxc,ux->cvu", weights[0], frame, weights[1])
    return image


@pytest.mark.parametrize(
    "frame_size", [(48, 27), (27, 48), (64, 64), (11, 20), (333, 1), (2, 301), (36, 20), (32, 32)]
)
@pytest.mark.parametrize("size", [(32, 32), (31, 18)])
def test_letterbox(kernels, frame_size, size):
    frames = [noise(frame_size[1], frame_size[0]), noise(9, 9)]
    found, scales = kernels.letterbox(frames, size, **PLAIN)
    expected, expected_scales = reference.letterbox(frames, size, **PLAIN)
    np.testing.assert_array_equal(scales, expected_scales)
    # The reference rounds grey levels as cv2.resize does.
    np.testing.assert_allclose(found, expected, atol=1)
    for image, frame in zip(found, frames, strict=True):
        np.testing.assert_allclose(image, exact_letterbox(frame, size), atol=0.01)


def test_letterbox_normalises_in_the_order_of_the_output(kernels):
    frame = np.full((8, 16, 3), (10, 20, 30), np.uint8)
    for rgb in (True, False):
        arguments = ([frame], (16, 16))
        found, _ = kernels.letterbox(*arguments, **IMAGENET, rgb=rgb, dtype=np.float16)
        expected, _ = reference.letterbox(*arguments, **IMAGENET, rgb=rgb)
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_nobody_costs_no_launch(emulated):
    crops = emulated.crop_persons([], np.empty(0, int), np.empty((0, 2, 3)), (9, 12), **PLAIN)
    assert crops.shape == (0, 3, 12, 9)
    assert emulated.launches == []
    images, scales = emulated.letterbox([], (9, 12), **PLAIN)
    assert images.shape == (0, 3, 12, 9)
    assert scales.shape == (0,)
    assert emulated.launches == []


def test_any_number_of_people_and_frames_is_one_launch(emulated):
    frames = [noise(9, 9, i) for i in range(40)]
    index = np.arange(80) % 40
    matrices = np.repeat(MATRICES[:1], 80, axis=0)
    found = emulated.crop_persons(frames, index, matrices, (4, 4), **PLAIN)
    assert emulated.launches == ["crop_persons_float32"]
    expected = reference.crop_persons(frames, index, matrices, (4, 4), **PLAIN)
    np.testing.assert_allclose(found, expected, atol=GREY)


def test_a_prepared_table_serves_many_calls(emulated):
    frames = [noise(19, 27), noise(7, 50, 1)]
    index = np.arange(len(MATRICES)) % 2
    found = emulated.crop_persons(Prepared(frames), index, MATRICES, (13, 11), **PLAIN)
    expected = reference.crop_persons(frames, index, MATRICES, (13, 11), **PLAIN)
    np.testing.assert_allclose(found, expected, atol=GREY)
    _, scales = emulated.letterbox(Prepared(frames), (32, 32), **PLAIN)
    np.testing.assert_array_equal(scales, reference.letterbox(frames, (32, 32), **PLAIN)[1])
    with pytest.raises(InputError, match="not among the 2 given"):
        emulated.crop_persons(Prepared(frames), index + 1, MATRICES, (13, 11), **PLAIN)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 0, 3), np.uint8), "shape"),
        (OnDevice(np.zeros((4, 4, 3), np.uint8), device=1), "cuda:1, but cuda:0 is current"),
    ],
)
def test_unusable_frames(emulated, frame, message):
    with pytest.raises(InputError, match=message):
        emulated.crop_persons([frame], np.zeros(1, int), MATRICES[:1], (4, 4), **PLAIN)
    assert emulated.launches == []


def test_arrays_that_do_not_fit_together(emulated):
    frame = noise(9, 9)
    with pytest.raises(InputError, match="frame_index names a frame"):
        emulated.crop_persons([frame], np.ones(1, int), MATRICES[:1], (4, 4), **PLAIN)
    with pytest.raises(InputError, match="frame_index has shape"):
        emulated.crop_persons([frame], np.zeros(2, int), MATRICES[:1], (4, 4), **PLAIN)
    with pytest.raises(InputError, match="transforms has shape"):
        emulated.crop_persons([frame], np.zeros(1, int), MATRICES[0], (4, 4), **PLAIN)
