"""Crops of NV12 frames: the kernels against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from device_arrays import OnDevice
from pcr_rt.cuda_kernels import reference
from pcr_rt.frames import Nv12Frame

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}


def planes(height, width, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 256, (height, width), dtype=np.uint8)
    uv = rng.integers(0, 256, ((height + 1) // 2, (width + 1) // 2 * 2), dtype=np.uint8)
    return y, uv


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_kernels_agree_with_the_reference(kernels, matrix, full_range):
    frames = [
        Nv12Frame(*planes(19, 27), matrix, full_range),
        Nv12Frame(*planes(24, 32, 1), matrix, full_range),
        np.random.default_rng(2).integers(0, 256, (9, 9, 3), dtype=np.uint8),
    ]
    index = np.array([0, 1, 2, 0])
    matrices = np.array(
        [
            [[1.3, 0, -2.2], [0, 1.1, -1.5]],
            [[0.9, -0.7, 8.3], [0.6, 0.8, -2.1]],
            [[0.5, 0, 0], [0, 0.5, 0]],
            [[3.3, 0, -9.1], [0, 3.7, -8.2]],
        ]
    )
    found = kernels.crop_persons(frames, index, matrices, (13, 11), **PLAIN)
    expected = reference.crop_persons(frames, index, matrices, (13, 11), **PLAIN)
    np.testing.assert_allclose(found, expected, atol=0.05)
    found, _ = kernels.letterbox(frames, (31, 32), **PLAIN)
    expected, _ = reference.letterbox(frames, (31, 32), **PLAIN)
    # OpenCV's resize counts the weights of 8-bit images in steps of 1/2048.
    np.testing.assert_allclose(found, expected, atol=1)


def test_planes_with_a_pitch(kernels):
    y, uv = planes(12, 64)
    there = Nv12Frame(OnDevice(y, np.s_[:, :20]), OnDevice(uv, np.s_[:, :20]))
    matrix = np.array([[[1.3, 0.1, -2.2], [0.2, 1.1, -1.5]]])
    found = kernels.crop_persons([there], np.zeros(1, int), matrix, (13, 11), **PLAIN)
    here = Nv12Frame(y[:, :20], uv[:, :20])
    expected = reference.crop_persons([here], np.zeros(1, int), matrix, (13, 11), **PLAIN)
    np.testing.assert_allclose(found, expected, atol=0.05)
