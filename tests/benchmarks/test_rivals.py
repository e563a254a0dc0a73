"""What the kernels are compared with has to give the kernels' results."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pcr_rt.cuda_kernels import reference
from pcr_rt.geometry import crop_transform


@pytest.fixture(scope="module")
def rivals():
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import rivals
    finally:
        sys.path.remove(folder)
    return rivals


FRAME = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
TRANSFORMS = crop_transform([[50, 40], [110, 85]], [[60, 80], [90, 120]], (192, 256), "udp")
MAPS = np.random.default_rng(1).random((2, 17, 64, 48), dtype=np.float32)


def test_crops(rivals):
    expected = reference.crop_persons(
        [FRAME], np.zeros(2, int), TRANSFORMS, rivals.CROP, rivals.MEAN, rivals.STD
    )
    found = rivals.cupy_crop(np, FRAME, TRANSFORMS)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    found = rivals.torch_crop(torch, torch.as_tensor(FRAME), torch.as_tensor(TRANSFORMS))
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_decoding(rivals):
    keypoints, scores = reference.decode_heatmaps(MAPS, TRANSFORMS, method="none")
    found, best = rivals.cupy_decode(np, MAPS, TRANSFORMS)
    np.testing.assert_allclose(found, keypoints, atol=1e-3)
    np.testing.assert_array_equal(best, scores)
    found, best = rivals.torch_decode(torch, torch.as_tensor(MAPS), torch.as_tensor(TRANSFORMS))
    np.testing.assert_allclose(found, keypoints, atol=1e-3)
    np.testing.assert_array_equal(best, scores)
