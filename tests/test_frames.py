"""NV12 frames: conversion, and crops of them, in the reference and the kernels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.frames import Nv12Frame

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}


def planes(height, width, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 256, (height, width), dtype=np.uint8)
    uv = rng.integers(0, 256, ((height + 1) // 2, (width + 1) // 2 * 2), dtype=np.uint8)
    return y, uv


def test_bt601_of_limited_range_is_what_opencv_does():
    y, uv = planes(24, 32)
    expected = cv2.cvtColor(np.vstack([y, uv]), cv2.COLOR_YUV2BGR_NV12)
    # OpenCV rounds to integers; it takes luma below black for black before it adds the chroma.
    y = y.clip(16)
    np.testing.assert_allclose(Nv12Frame(y, uv).to_bgr(), expected, atol=0.75)


@pytest.mark.parametrize(
    ("matrix", "full_range", "yuv", "bgr"),
    [
        # White, black, and the primaries as the standards' tables of colour bars have them.
        ("bt601", False, (235, 128, 128), (255, 255, 255)),
        ("bt709", False, (16, 128, 128), (0, 0, 0)),
        ("bt601", False, (81, 90, 240), (0, 0, 254)),
        ("bt601", False, (145, 54, 34), (0, 255, 1)),
        ("bt709", False, (63, 102, 240), (1, 1, 255)),
        ("bt709", False, (32, 240, 118), (255, 1, 0)),
        ("bt601", True, (255, 128, 128), (255, 255, 255)),
        ("bt601", True, (76, 85, 255), (0, 0, 254)),
        ("bt709", True, (182, 30, 12), (0, 255, 0)),
    ],
)
def test_colours_by_the_standards(matrix, full_range, yuv, bgr):
    y = np.full((2, 2), yuv[0], np.uint8)
    uv = np.array([yuv[1:]], np.uint8)
    found = Nv12Frame(y, uv, matrix, full_range).to_bgr()
    np.testing.assert_allclose(found, np.broadcast_to(bgr, (2, 2, 3)), atol=2)


def test_each_chroma_sample_serves_four_pixels():
    y = np.full((3, 5), 100, np.uint8)
    uv = np.full((2, 6), 128, np.uint8)
    uv[1, 3] = 200  # V of the block of rows 2.., columns 2..3
    red = Nv12Frame(y, uv).to_bgr()[..., 2]
    assert red.shape == (3, 5)
    np.testing.assert_array_equal(np.argwhere(red > red[0, 0]), [(2, 2), (2, 3)])


@pytest.mark.parametrize(
    ("y", "uv", "matrix", "message"),
    [
        ((4, 6), (2, 5), "bt601", r"UV plane of a 6x4 NV12 frame has shape \(2, 6\)"),
        ((4, 6), (4, 6), "bt601", r"not \(4, 6\)"),
        ((4, 6, 1), (2, 6), "bt601", "two-dimensional uint8"),
        ((0, 6), (0, 6), "bt601", "two-dimensional uint8"),
        ((4, 6), (2, 6), "bt2020", "use 'bt601' or 'bt709'"),
    ],
)
def test_planes_that_do_not_fit(y, uv, matrix, message):
    with pytest.raises(InputError, match=message):
        Nv12Frame(np.zeros(y, np.uint8), np.zeros(uv, np.uint8), matrix)
