from __future__ import annotations

import cv2
import numpy as np
import pytest

from pcr_rt.cuda_kernels.reference import decode_heatmaps, decode_simcc
from pcr_rt.cuda_kernels.reference.heatmaps import smoothing_kernels
from pcr_rt.geometry import apply_transform, crop_transform
from pcr_rt.skeleton import COCO17, Skeleton

IDENTITY = np.array([[[1.0, 0, 0], [0, 1, 0]]])


def gaussian(height, width, x, y, sigma):
    row, column = np.indices((height, width))
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)).astype(np.float32)


def gaussians(height, width, points, sigma):
    """Maps (1, K, h, w) with one peak at each of points (K, 2)."""
    return np.stack([gaussian(height, width, x, y, sigma) for x, y in points])[None]


def points_at(width, height, margin, count, seed=0):
    """Random points whose distance to the nearest border is at least margin, some just that."""
    span = np.array([width, height]) - 1 - 2 * margin
    points = margin + np.random.default_rng(seed).random((count, 2)) * span
    points[::4, 0], points[1::4, 1] = margin, height - 1 - margin
    points[2::4, 0] = width - 1 - margin
    return points


def newton_step(f):
    """DARK's step from the middle of the 5x5 samples of a smoothed log map, as published."""
    gradient = [(f[2, 3] - f[2, 1]) / 2, (f[3, 2] - f[1, 2]) / 2]
    cross = (f[3, 3] - f[3, 1] - f[1, 3] + f[1, 1]) / 4
    hessian = [
        [(f[2, 4] - 2 * f[2, 2] + f[2, 0]) / 4, cross],
        [cross, (f[4, 2] - 2 * f[2, 2] + f[0, 2]) / 4],
    ]
    return np.clip(-np.linalg.solve(hessian, gradient), -1, 1)


GRIDS = [(64, 48, 2.0), (96, 72, 3.0), (37, 29, 2.0)]


@pytest.mark.parametrize(("height", "width", "sigma"), GRIDS)
def test_dark_finds_the_true_place(height, width, sigma):
    points = points_at(width, height, 4, 200)
    maps = gaussians(height, width, points, sigma)
    keypoints, scores = decode_heatmaps(maps, IDENTITY, method="dark", sigma=sigma)
    assert keypoints.dtype == scores.dtype == np.float32
    np.testing.assert_allclose(keypoints[0], points, atol=0.05)
    np.testing.assert_array_equal(scores[0], maps[0].max(axis=(1, 2)))


@pytest.mark.parametrize("method", ["none", "quarter", "dark"])
@pytest.mark.parametrize(("height", "width", "sigma"), GRIDS)
def test_every_method_is_within_half_a_sample_up_to_the_border(height, width, sigma, method):
    points = points_at(width, height, 0, 200)
    points[100:, 0] = np.linspace(0, 4, 100)
    maps = gaussians(height, width, points, sigma)
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method=method, sigma=sigma)
    np.testing.assert_allclose(keypoints[0], points, atol=0.5 + 1e-4)


@pytest.mark.parametrize(("sigma", "kernel_size"), [(2.0, 11), (3.0, 17)])
def test_dark_agrees_with_the_formula_on_maps_blurred_by_opencv(sigma, kernel_size):
    rng = np.random.default_rng(0)
    points = points_at(72, 96, 14, 17)
    maps = gaussians(96, 72, points, sigma) + rng.uniform(-0.02, 0.08, (1, 17, 96, 72))
    maps = maps.astype(np.float32)
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method="dark", sigma=sigma)
    for one, found in zip(maps[0].astype(np.float64), keypoints[0], strict=True):
        y, x = np.unravel_index(one.argmax(), one.shape)
        blurred = cv2.GaussianBlur(one, (kernel_size, kernel_size), 0)
        step = newton_step(np.log(blurred[y - 2 : y + 3, x - 2 : x + 3]))
        np.testing.assert_allclose(found - (x, y), step, atol=1e-3)


# x, y, and the samples that the kernel reaches there, of 5, without leaving the map from the five.
NEAR_BORDERS = [(2, 12, 0, 5), (20, 12, 1, 5), (9, 3, 5, 1), (9, 24, 5, 0), (21, 2, 0, 0)]


@pytest.mark.parametrize(("x", "y", "reach_x", "reach_y"), NEAR_BORDERS)
def test_dark_cuts_its_kernel_near_the_border(x, y, reach_x, reach_y):
    rng = np.random.default_rng(x)
    maps = gaussians(27, 24, [(x + 0.2, y - 0.3)], 2.0) + rng.uniform(0.02, 0.05, (1, 1, 27, 24))
    keypoints, _ = decode_heatmaps(maps.astype(np.float32), IDENTITY, method="dark")
    size, sigma = (2 * reach_x + 1, 2 * reach_y + 1), 0.3 * (5 - 1) + 0.8
    f = np.log(cv2.GaussianBlur(maps[0, 0], size, sigma))[y - 2 : y + 3, x - 2 : x + 3]
    np.testing.assert_allclose(keypoints[0, 0] - (x, y), newton_step(f), atol=1e-4)


@pytest.mark.parametrize(
    ("dx", "dy", "dxx", "dyy", "dxy", "expected"),
    [
        # Minus the inverse of [[-1, 0.8], [0.8, -1]] times (0.2, -0.1).
        (0.2, -0.1, -1, -1, 0.8, (1 / 3, 1 / 6)),
        (0.1, 0.02, -2, -0.2, 0, (0.05, 0.1)),
        # Saddles, whose larger curvatures are 0.5 and 0.1: a quarter to the higher neighbours.
        (0.2, 0.1, -1, -1, 1.5, (0.25, 0.25)),
        (-0.2, 0.1, -2, -0.2, 0.8, (-0.25, 0.25)),
    ],
)
def test_dark_step_by_hand(dx, dy, dxx, dyy, dxy, expected):
    """In the middle of 5x5 samples no kernel fits: the map's own logarithm is read."""
    f = np.full((5, 5), -3.0)
    f[2, 1:4] = -1 - dx, 0, -1 + dx
    f[1, 2], f[3, 2] = -1 - dy, -1 + dy
    f[2, [0, 4]], f[[0, 4], 2] = 2 * dxx, 2 * dyy
    f[1, 1] = f[3, 3] = -2 + dxy
    f[1, 3] = f[3, 1] = -2 - dxy
    maps = np.exp(f, dtype=np.float32)[None, None]
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method="dark")
    np.testing.assert_allclose(keypoints[0, 0] - 2, expected, atol=1e-5)


@pytest.mark.parametrize("radius", [1, 5, 8])
def test_smoothing_kernels_are_those_of_opencv(radius):
    kernels = smoothing_kernels(radius)
    assert kernels.shape == (radius + 1, 5, 5 + 2 * radius)
    for cut in range(radius + 1):
        wanted = cv2.getGaussianKernel(2 * cut + 1, 0.3 * (radius - 1) + 0.8)[:, 0]
        for sample in range(5):
            row = np.zeros(5 + 2 * radius)
            row[sample + radius - cut : sample + radius + cut + 1] = wanted
            np.testing.assert_allclose(kernels[cut, sample], row, atol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        kernels[0, 0, 0] = 1  # one table for all callers


def test_sigma_is_2_unless_given():
    maps = np.random.default_rng(0).random((1, 3, 24, 24)).astype(np.float32)
    maps[0, :, 12, 11] = 1.5
    plain, two, three = (
        decode_heatmaps(maps, IDENTITY, method="dark", **sigma)[0]
        for sigma in ({}, {"sigma": 2.0}, {"sigma": 3.0})
    )
    np.testing.assert_array_equal(plain, two)
    assert (plain != three).any()


def test_dark_step_is_at_most_one_sample():
    # One hot sample 4 columns off a broad hill: the hill's summit is further than a step.
    maps = gaussians(64, 48, [(20, 30)], 2.0)
    maps[0, 0, 30, 16] = 1.01
    keypoints, scores = decode_heatmaps(maps, IDENTITY, method="dark")
    np.testing.assert_allclose(keypoints[0, 0], (17, 30), atol=1e-3)
    np.testing.assert_allclose(scores, 1.01)


def test_dark_falls_back_to_quarter_in_a_valley():
    # A hot sample between two broad hills: the smoothed map is lowest there along x.
    maps = 0.9 * (gaussians(32, 33, [(8, 16)], 4.0) + gaussians(32, 33, [(24, 16)], 4.0))
    maps[0, 0, 16, 16:18] = 1.1, 0.8
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method="dark")
    np.testing.assert_array_equal(keypoints[0, 0], (16.25, 16))


def test_dark_falls_back_to_quarter_on_a_plateau():
    # The smallest possible peak: its curvature is of the size of rounding errors.
    maps = np.full((1, 1, 32, 32), 0.25, np.float32)
    maps[0, 0, 16, 16:18] = np.nextafter(maps[0, 0, 16, 16:18], 1)
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method="dark")
    np.testing.assert_array_equal(keypoints[0, 0], (16.25, 16))


@pytest.mark.parametrize(
    ("left", "right", "above", "below", "expected"),
    [
        (0.1, 0.2, 0.4, 0.3, (3.25, 1.75)),
        (0.2, 0.1, 0.3, 0.4, (2.75, 2.25)),
        (0.2, 0.2, 0.0, 0.0, (3, 2)),
        (np.nan, 0.1, 0.2, np.nan, (3, 2)),
        (-np.inf, -np.inf, -1, -2, (3, 1.75)),
    ],
)
def test_quarter_by_hand(left, right, above, below, expected):
    maps = np.zeros((1, 1, 6, 7), np.float32)
    maps[0, 0, 2, 2:5] = left, 0.9, right
    maps[0, 0, 1, 3], maps[0, 0, 3, 3] = above, below
    keypoints, scores = decode_heatmaps(maps, IDENTITY, method="quarter")
    np.testing.assert_array_equal(keypoints[0, 0], expected)
    np.testing.assert_array_equal(scores, [[np.float32(0.9)]])


@pytest.mark.parametrize(("x", "y"), [(1, 1), (5, 1), (1, 4), (5, 4)])
def test_quarter_beside_the_border(x, y):
    maps = np.zeros((1, 1, 6, 7), np.float32)
    maps[0, 0, y, x] = 0.9
    maps[0, 0, y, x - 1] = maps[0, 0, y + 1, x] = 0.1
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method="quarter")
    np.testing.assert_array_equal(keypoints[0, 0], (x - 0.25, y + 0.25))


@pytest.mark.parametrize(("x", "y"), [(0, 2), (6, 2), (3, 0), (3, 5), (0, 0), (6, 5)])
@pytest.mark.parametrize("method", ["quarter", "dark"])
def test_a_maximum_on_the_border_stays(x, y, method):
    maps = np.random.default_rng(0).random((1, 1, 6, 7)).astype(np.float32)
    maps[0, 0, y, x] = 2
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method=method)
    np.testing.assert_array_equal(keypoints[0, 0], (x, y))


def test_first_maximum_in_row_major_order():
    maps = np.zeros((1, 2, 5, 4), np.float32)
    maps[0, 0, 3, 1] = maps[0, 0, 1, 2] = maps[0, 0, 1, 3] = 0.5
    maps[0, 1] = -1
    keypoints, scores = decode_heatmaps(maps, IDENTITY, method="none")
    np.testing.assert_array_equal(keypoints[0], [(2, 1), (0, 0)])
    np.testing.assert_array_equal(scores[0], [0.5, -1])


@pytest.mark.parametrize("method", ["none", "quarter", "dark"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, 0.0, -3.0, 0.75])
def test_maps_without_a_peak(value, method):
    maps = np.full((2, 3, 16, 12), value, np.float32)
    keypoints, scores = decode_heatmaps(maps, np.repeat(IDENTITY, 2, 0), method=method)
    np.testing.assert_array_equal(keypoints, np.zeros((2, 3, 2)))
    np.testing.assert_array_equal(scores, np.full((2, 3), value if np.isfinite(value) else 0))


@pytest.mark.parametrize("method", ["none", "quarter", "dark"])
def test_nan_never_wins_and_never_spreads(method):
    maps = gaussians(32, 24, [(9.2, 15.7), (20, 4)], 2.0)
    expected, _ = decode_heatmaps(maps, IDENTITY, method=method)
    holes = maps.copy()
    holes[0, :, 0, 0] = np.nan
    holes[0, :, 31, 23] = np.nan
    keypoints, scores = decode_heatmaps(holes, IDENTITY, method=method)
    np.testing.assert_array_equal(keypoints, expected)
    np.testing.assert_array_equal(scores, maps.max(axis=(2, 3)))
    holes[0, 0, 15:17, 10:13] = np.nan  # beside the first maximum, which is at (9, 16)
    keypoints, scores = decode_heatmaps(holes, IDENTITY, method=method)
    assert np.isfinite(keypoints).all()
    assert np.abs(keypoints[0, 0] - (9, 16)).max() <= 1
    np.testing.assert_array_equal(scores[0, 0], maps[0, 0].max())
    assert np.isnan(holes[0, 0, 0, 0]), "the caller's maps are left alone"


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_dark_refines_beside_a_hole(value):
    # The hole lies inside the smoothed neighbourhood, where the Gaussian has no heat.
    maps = gaussians(32, 24, [(12.4, 15.6)], 2.0)
    maps[0, 0, 16 - 7, 12 + 7] = value
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method="dark")
    np.testing.assert_allclose(keypoints[0, 0], (12.4, 15.6), atol=0.05)
    # Nearer, where there is some, it counts as none.
    without = maps.copy()
    maps[0, 0, 18, 15], without[0, 0, 18, 15] = value, 0
    keypoints, _ = decode_heatmaps(maps, IDENTITY, method="dark")
    np.testing.assert_array_equal(keypoints, decode_heatmaps(without, IDENTITY, method="dark")[0])


def test_dark_where_nothing_is_positive():
    rng = np.random.default_rng(0)
    maps = rng.uniform(-2, -1, (3, 17, 20, 16)).astype(np.float32)
    args = maps, np.repeat(IDENTITY, 3, 0)
    with np.errstate(all="raise"):
        dark, _ = decode_heatmaps(*args, method="dark")
    quarter, _ = decode_heatmaps(*args, method="quarter")
    np.testing.assert_array_equal(dark, quarter)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (4, 4), (5, 5), (6, 33)])
@pytest.mark.parametrize("method", ["none", "quarter", "dark"])
def test_small_and_odd_maps(shape, method):
    maps = np.random.default_rng(0).random((2, 3, *shape)).astype(np.float32)
    keypoints, _ = decode_heatmaps(maps, np.repeat(IDENTITY, 2, 0), method=method)
    rows, columns = np.unravel_index(maps.reshape(2, 3, -1).argmax(-1), shape)
    step = {"none": 0, "quarter": 0.25, "dark": 1}[method]
    assert (np.abs(keypoints - np.stack([columns, rows], -1)) <= step).all()


@pytest.mark.parametrize("transform", ["udp", "msra"])
def test_keypoints_return_to_the_frame(transform):
    heatmap = (48, 64)
    to_frame = crop_transform(
        [[300, 200], [50, 80]], [[150, 200], [90, 120]], heatmap, transform, [0, 0.3]
    )
    samples = points_at(48, 64, 8, 34).reshape(2, 17, 2)
    maps = np.concatenate([gaussians(64, 48, one, 2.0) for one in samples])
    keypoints, _ = decode_heatmaps(maps, to_frame, method="dark")
    # 0.05 samples are at most 0.16 and 0.1 frame pixels.
    np.testing.assert_allclose(keypoints, apply_transform(to_frame, samples), atol=0.1)


def test_half_precision():
    points = points_at(48, 64, 6, 17)
    maps = gaussians(64, 48, points, 2.0).astype(np.float16)
    keypoints, scores = decode_heatmaps(maps, IDENTITY, method="dark")
    assert keypoints.dtype == scores.dtype == np.float32
    np.testing.assert_allclose(keypoints[0], points, atol=0.05)


def test_an_ensemble_is_averaged():
    maps = [np.zeros((1, 1, 8, 8), np.float32) for _ in range(3)]
    maps[0][0, 0, 2, 3] = 0.8
    maps[1][0, 0, 5, 6] = 0.6
    maps[2][0, 0, 5, 6] = 0.6
    keypoints, scores = decode_heatmaps(maps, IDENTITY, method="none")
    np.testing.assert_array_equal(keypoints[0, 0], (6, 5))
    np.testing.assert_allclose(scores, 0.4)
    assert maps[0].max() == np.float32(0.8), "the caller's maps are left alone"


def test_mirrored_maps_are_mirrored_back_and_joints_swapped():
    points = points_at(24, 32, 5, 17)
    maps = gaussians(32, 24, points, 2.0)
    seen_in_mirror = np.empty_like(maps)
    for joint, (x, y) in enumerate(points):
        seen_in_mirror[0, COCO17.flip[joint]] = gaussian(32, 24, 23 - x, y, 2.0)
    for mirrored in (seen_in_mirror, [seen_in_mirror, seen_in_mirror]):
        keypoints, scores = decode_heatmaps(
            np.zeros_like(maps), IDENTITY, method="dark", mirrored=mirrored, flip=COCO17.flip
        )
        np.testing.assert_allclose(keypoints[0], points, atol=0.05)
        np.testing.assert_allclose(scores[0], maps[0].max(axis=(1, 2)) / 2, rtol=1e-6)


@pytest.mark.parametrize("name", ["hand21", "halpe26", "coco_wholebody133"])
def test_the_sides_of_every_skeleton_are_swapped(name):
    skeleton = Skeleton.load(name)
    points = points_at(24, 32, 5, len(skeleton))
    maps = gaussians(32, 24, points, 2.0)
    # What a mirrored person shows: by name, the place of a left keypoint is that of the right one.
    partner = dict(skeleton.pairs) | {b: a for a, b in skeleton.pairs}
    names = [partner.get(name, name) for name in skeleton.keypoints]
    mirrored = maps[:, skeleton.slots(names), :, ::-1].copy()
    keypoints, scores = decode_heatmaps(
        maps, IDENTITY, method="dark", mirrored=mirrored, flip=skeleton.flip
    )
    np.testing.assert_allclose(keypoints[0], points, atol=0.05)
    np.testing.assert_allclose(scores[0], maps[0].max(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("flip", [None, COCO17.flip])
def test_a_flip_test_without_the_pairs_is_an_error(flip):
    maps = gaussians(16, 16, points_at(16, 16, 5, 21), 1.0)
    with pytest.raises(ValueError, match="21 keypoints need a flip for each"):
        decode_heatmaps(maps, IDENTITY, method="none", mirrored=maps, flip=flip)


@pytest.mark.parametrize("method", ["none", "quarter", "dark"])
def test_nobody(method):
    keypoints, scores = decode_heatmaps(
        np.empty((0, 17, 64, 48), np.float32), np.empty((0, 2, 3)), method=method
    )
    assert keypoints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)


def test_simcc_by_hand():
    x = np.zeros((1, 4, 12), np.float16)
    y = np.zeros((1, 4, 16), np.float16)
    x[0, 0, 5], y[0, 0, 9] = 0.75, 0.5
    x[0, 1, 3:5], y[0, 1, 2] = 0.25, np.nan  # a tie; NaN does not win
    y[0, 1, 7] = 0.5
    x[0, 2, 1], y[0, 2] = 0.5, -1  # one axis never above 0
    x[0, 3] = np.nan
    y[0, 3, 15] = 0.5
    to_frame = np.array([[[2.0, 0, 100], [0, 4, 200]]])
    keypoints, scores = decode_simcc(x, y, to_frame)  # two samples a pixel
    np.testing.assert_array_equal(keypoints[0], [(105, 218), (103, 214), (101, 200), (100, 230)])
    np.testing.assert_array_equal(scores[0], [0.5, 0.25, 0, 0])
    assert keypoints.dtype == scores.dtype == np.float32


def test_simcc_of_nobody():
    keypoints, scores = decode_simcc(
        np.empty((0, 17, 384)), np.empty((0, 17, 512)), np.empty((0, 2, 3))
    )
    assert keypoints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)
