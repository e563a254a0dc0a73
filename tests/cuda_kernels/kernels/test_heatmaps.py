"""decode_heatmaps and decode_simcc on the device against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from device_arrays import OnDevice
from pcr_rt.cuda_kernels import reference
from pcr_rt.errors import InputError
from pcr_rt.geometry import crop_transform

METHODS = ["none", "quarter", "dark"]


def peaks(height, width, points, sigma=2.0):
    """(1, K, h, w) Gaussians at points (K, 2)."""
    row, column = np.indices((height, width))
    x, y = np.asarray(points, float)[..., None, None].swapaxes(0, 1)
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))[None].astype(np.float32)


def transforms(n, width, height):
    rng = np.random.default_rng(0)
    centre, region = rng.uniform(100, 1800, (n, 2)), rng.uniform(50, 900, (n, 2))
    return crop_transform(centre, region, (width, height), "msra", rng.uniform(-1, 1, n))


def check(kernels, maps, *, method, mirrored=None, sigma=2.0):
    n, _, height, width = (maps[0] if isinstance(maps, list) else maps).shape
    arguments = (maps, transforms(n, width, height))
    joints = (maps[0] if isinstance(maps, list) else maps).shape[1]
    # Any permutation that is its own inverse.
    flip = None if mirrored is None else np.arange(joints)[::-1]
    options = {"method": method, "sigma": sigma, "mirrored": mirrored, "flip": flip}
    with np.errstate(invalid="ignore"):
        expected, expected_scores = reference.decode_heatmaps(*arguments, **options)
    keypoints, scores = kernels.decode_heatmaps(*arguments, **options)
    assert keypoints.dtype == scores.dtype == np.float32
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_allclose(keypoints, expected, atol=2e-3)


def flat(height, width, value):
    return np.full((1, 2, height, width), value, np.float32)


def random(height, width, seed=0, people=1):
    return np.random.default_rng(seed).random((people, 17, height, width), dtype=np.float32)


def broken(height, width):
    """Numbers, infinities and NaN of every kind, each joint with its own."""
    maps = random(height, width) - np.float32(0.5)
    maps[0, 0] = np.nan
    maps[0, 1] = -np.inf
    maps[0, 2, :, ::2] = np.nan
    maps[0, 3].flat[[5, -3]] = np.inf
    maps[0, 4] = np.nan
    maps[0, 4, -1, -1] = -7
    maps[0, 5, height // 2, width // 2] = 3
    maps[0, 5, height // 2, width // 2 + 1 :] = np.nan
    maps[0, 6] -= 5
    maps[0, 7, 1::2] = -np.inf
    maps[0, 8] = -0.0
    maps[0, 8, 1, 1] = 0.0
    return maps


def tied(height, width):
    maps = np.random.default_rng(1).integers(0, 3, (2, 17, height, width)).astype(np.float32)
    return maps / 4


def along_borders(height, width):
    edge = [0, 0.4, 1, 1.5, 2, 2.5, 3, 4.2, 6]
    points = [(x, height / 2) for x in edge] + [(width / 2, y) for y in edge]
    points += [(width - 1 - x, height - 1 - x) for x in edge]
    return peaks(height, width, points)


CASES = {
    "random": random(64, 48, people=2),
    "odd size": random(37, 29),
    "tiny": random(3, 2),
    "one sample": random(1, 1),
    "one row": random(1, 40),
    "large": random(128, 96)[:, :3],
    "tied": tied(16, 12),
    "constant": flat(16, 12, 0.25),
    "negative constant": flat(15, 11, -3),
    "broken": broken(21, 18),
    "border peaks": along_borders(32, 24),
    "border peaks, odd size": along_borders(33, 27),
    "plateau": np.pad(np.ones((1, 1, 2, 3), np.float32), ((0, 0), (0, 0), (9, 9), (9, 9))),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_maps(kernels, case, method):
    check(kernels, CASES[case], method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["random", "odd size", "broken", "border peaks"])
def test_half_precision(kernels, case, method):
    check(kernels, CASES[case].astype(np.float16), method=method)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0, 4.0, 6.4])
def test_smoothing_of_any_width(kernels, sigma):
    maps = peaks(96, 72, [(30.3, 41.7), (5.2, 60), (68.9, 90.1), (36, 3)], sigma)
    check(kernels, maps + 0.01 * random(96, 72)[:, :4], method="dark", sigma=sigma)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("joints", [5, 17, 21, 133])
def test_flip_average_and_ensemble(kernels, method, joints):
    rng = np.random.default_rng(3)
    maps = [rng.random((2, joints, 20, 15), dtype=np.float32) for _ in range(3)]
    check(kernels, maps[0], method=method, mirrored=maps[1])
    check(kernels, maps[:2], method=method)
    check(kernels, maps, method=method, mirrored=maps[::-1])
    halves = [m.astype(np.float16) for m in maps]
    check(kernels, halves, method=method, mirrored=halves[1:] + halves[:1])


def test_flip_average_of_broken_maps(kernels):
    maps = broken(21, 18)
    check(kernels, maps, method="dark", mirrored=maps[:, ::-1].copy())


def test_views_and_mixed_precision(kernels):
    maps = random(18, 12, people=3)
    options = {"method": "dark"}
    m = transforms(2, 12, 18)
    found, _ = kernels.decode_heatmaps(OnDevice(maps, np.s_[::2]), m, **options)
    expected, _ = reference.decode_heatmaps(maps[::2], m, **options)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    mixed = [maps[:2], maps[1:].astype(np.float16)]
    found, _ = kernels.decode_heatmaps(mixed, m, **options)
    expected, _ = reference.decode_heatmaps(mixed, m, **options)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_nobody_costs_no_launch(emulated):
    maps = np.empty((0, 17, 8, 6), np.float32)
    keypoints, scores = emulated.decode_heatmaps(maps, np.empty((0, 2, 3)), method="dark")
    assert keypoints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)
    assert emulated.launches == []
    rows = np.empty((0, 17, 8), np.float32)
    emulated.decode_simcc(rows, rows, np.empty((0, 2, 3)))
    assert emulated.launches == []


def test_a_flip_test_without_the_pairs_is_an_error(emulated):
    maps = random(8, 6)
    for flip in (None, np.arange(21)):
        with pytest.raises(ValueError, match="17 keypoints need a flip for each"):
            emulated.decode_heatmaps(
                maps, transforms(1, 6, 8), method="dark", mirrored=maps, flip=flip
            )


def test_everything_fused_is_one_launch(emulated):
    maps = [random(8, 6), random(8, 6, 1)]
    emulated.decode_heatmaps(
        maps, transforms(1, 6, 8), method="dark", mirrored=maps, flip=np.arange(17)
    )
    assert emulated.launches == ["decode_heatmaps_float32"]


def test_unusable_maps(emulated):
    maps, m = random(8, 6), transforms(1, 6, 8)
    for arguments, message in (
        ((maps.astype(np.float64), m), "float16 or float32, not float64"),
        ((maps, np.repeat(m, 2, 0)), "transforms has shape"),
        (([maps, random(8, 7)], m), "differ in shape"),
        (([], m), "no array"),
    ):
        with pytest.raises(InputError, match=message):
            emulated.decode_heatmaps(*arguments, method="dark")
    with pytest.raises(InputError, match="sigma is 9"):
        emulated.decode_heatmaps(maps, m, method="dark", sigma=9.0)


def simcc_rows(dtype):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(3, 17, 385)), rng.integers(0, 4, (3, 17, 50)).astype(float)
    x, y = (r.astype(dtype) for r in rows)
    x[0, 0], y[0, 1] = np.nan, -np.inf
    x[1, 2, 7], y[1, 3] = np.nan, -2
    x[2, 4, 100], x[2, 4, 300] = 60, 60
    x[2, 5] = 0.5
    return x, y


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("split", [2.0, 1.0, 3.0])
def test_simcc(kernels, dtype, split):
    x, y = simcc_rows(dtype)
    m = transforms(3, 192, 256)
    expected, expected_scores = reference.decode_simcc(x, y, m, split=split)
    keypoints, scores = kernels.decode_simcc(x, y, m, split=split)
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_allclose(keypoints, expected, atol=2e-3)
