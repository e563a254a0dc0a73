from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.cuda_kernels.reference import crop_persons, letterbox
from pcr_rt.geometry import box_to_region, crop_transform, mirrored_crop

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth noise over the whole grey range: edges as soft as those of a photograph."""
    smooth = cv2.GaussianBlur(noise(height, width).astype(np.float32), (0, 0), 4)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def bilinear(frame: NDArray[np.uint8], x: float, y: float) -> NDArray[np.float64]:
    """The plain definition for one point, in float64; black outside the frame."""
    left, top = math.floor(x), math.floor(y)
    total = np.zeros(3)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < frame.shape[0] and 0 <= column < frame.shape[1]:
                weight = (1 - abs(x - column)) * (1 - abs(y - row))
                total += weight * frame[row, column].astype(np.float64)
    return total


def loop_crop(
    frame: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float64]:
    crop = np.empty((3, size[1], size[0]))
    for v in range(size[1]):
        for u in range(size[0]):
            x, y = matrix @ [u, v, 1]
            crop[:, v, u] = bilinear(frame, x, y)
    return crop


MATRICES = {
    "identity": [[1, 0, 0], [0, 1, 0]],
    "shifted by a fraction": [[1, 0, 2.37], [0, 1, 3.81]],
    "shrunk": [[2.31, 0, 0.4], [0, 1.73, 1.1]],
    "enlarged": [[0.37, 0, 5.2], [0, 0.41, 4.9]],
    "mirrored": [[-1.3, 0, 22.6], [0, 1.2, 0.3]],
    "beyond the top left": [[1.1, 0, -6.7], [0, 1.3, -4.45]],
    "beyond the bottom right": [[1.9, 0, 12.3], [0, 2.2, 9.6]],
    "beyond all borders": [[3.3, 0, -9.1], [0, 3.7, -8.2]],
    "wholly outside": [[1, 0, 1e12], [0, 1, -1e12]],
    "turned": [[0.9, -0.7, 8.3], [0.6, 0.8, -2.1]],
    "turned and outside": [[-2.5, 1.5, 14.4], [1.1, 2.9, -9.9]],
    "sheared on one axis": [[1.2, 0.5, 1.7], [0, 1.1, 2.2]],
}


@pytest.mark.parametrize("name", MATRICES)
def test_crop_is_exact_bilinear(name):
    frame, matrix = noise(19, 27), np.array(MATRICES[name], dtype=np.float64)
    crop = crop_persons([frame], np.array([0]), matrix[None], (13, 11), **PLAIN, rgb=False)
    assert crop.shape == (1, 3, 11, 13)
    assert crop.dtype == np.float32
    np.testing.assert_allclose(crop[0], loop_crop(frame, matrix, (13, 11)), atol=1e-3)


@pytest.mark.parametrize("rotation", [0.0, 0.5])
def test_far_coordinates_stay_exact(rotation):
    # 1/3 pixel at column 7,000: float32 coordinates would be off by 0.06 grey levels and more.
    frame = np.zeros((8, 7500, 3), np.uint8)
    frame[:, ::2] = 255
    matrix = crop_transform([[7000 + 1 / 3, 4]], [[5, 5]], (6, 6), "udp", rotation)
    crop = crop_persons([frame], np.array([0]), matrix, (6, 6), **PLAIN)
    np.testing.assert_allclose(crop[0], loop_crop(frame, matrix[0], (6, 6)), atol=1e-2)


@pytest.mark.parametrize("rotation", [0.0, 0.6])
def test_crop_agrees_with_opencv(rotation):
    frame = photograph(300, 400)
    centre, region = box_to_region([[90, 40, 250, 240]], 0.75)
    matrix = crop_transform(centre, region, (96, 128), "udp", rotation)
    crop = crop_persons([frame], np.array([0]), matrix, (96, 128), **PLAIN, rgb=False)[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(frame, matrix[0], (96, 128), flags=flags).astype(np.float64)
    difference = np.abs(crop.transpose(1, 2, 0) - expected)
    # Rounding to integers alone makes 0.25 grey levels on average.
    assert difference.mean() <= 0.3
    assert (difference <= 1.5).mean() >= 0.999


@pytest.mark.parametrize("rotation", [0.0, 0.6])
def test_crops_of_a_photograph_are_opencv_s_but_for_its_rounding(sample_image, rotation):
    frame = cv2.imread(str(sample_image))
    height, width = frame.shape[:2]
    centre, region = box_to_region([[width * 0.3, height * 0.2, width * 0.6, height * 0.9]], 0.75)
    matrix = crop_transform(centre, region, (192, 256), "udp", rotation)
    crop = crop_persons([frame], np.array([0]), matrix, (192, 256), **PLAIN, rgb=False)[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(frame, matrix[0], (192, 256), flags=flags).astype(np.float64)
    crop = crop.transpose(1, 2, 0)
    rounded = np.abs(crop.round() - expected)
    assert rounded.mean() <= 0.2
    assert (rounded <= 1.5).mean() >= 0.999
    # A fraction differs from its nearest integer by 1/4 on average.
    assert np.abs(crop - expected).mean() <= 0.25


@pytest.mark.parametrize("rgb", [True, False])
def test_crop_is_normalised_in_the_order_of_the_output(rgb):
    frame = np.full((4, 4, 3), (10, 20, 30), np.uint8)
    mean, std = (1.0, 2.0, 3.0), (2.0, 4.0, 8.0)
    identity = np.array([MATRICES["identity"]], dtype=np.float64)
    crop = crop_persons([frame], np.array([0]), identity, (5, 4), mean, std, rgb=rgb)[0]
    grey = np.array([30, 20, 10] if rgb else [10, 20, 30])
    np.testing.assert_allclose(crop[:, 1, 1], (grey - mean) / np.array(std), rtol=1e-6)
    # The fifth column lies outside the frame and is black before normalisation.
    np.testing.assert_allclose(crop[:, 1, 4], -np.array(mean) / std, rtol=1e-6)


def test_crops_of_several_frames():
    frames = [noise(20, 30, 1), noise(35, 25, 2)]
    index = np.array([1, 0, 1])
    matrices = crop_transform(
        [[5, 5], [10, 12], [20, 30]], [[9, 12]] * 3, (6, 8), "msra", [0, 0, 1]
    )
    crops = crop_persons(frames, index, matrices, (6, 8), **PLAIN, rgb=False)
    for crop, i, matrix in zip(crops, index, matrices, strict=True):
        np.testing.assert_allclose(crop, loop_crop(frames[i], matrix, (6, 8)), atol=1e-3)


def test_crop_of_the_mirrored_view_is_the_mirror_image():
    frame = noise(60, 50)
    plain = crop_transform([[24.3, 31.8]], [[30, 40]], (24, 32), "udp")
    views = np.concatenate([plain, mirrored_crop(plain, (24, 32), (6, 8), "udp")])
    crops = crop_persons([frame], np.array([0, 0]), views, (24, 32), **PLAIN)
    np.testing.assert_allclose(crops[1], crops[0, :, :, ::-1], atol=1e-3)


VIEWS = {
    "upside down": lambda frame: frame[::-1],
    "every other pixel": lambda frame: frame[::2, 1::2],
    "channels reversed": lambda frame: frame[..., ::-1],
    "three of four channels": lambda frame: np.dstack([frame, frame[..., :1]])[..., :3],
    "column-major": np.asfortranarray,
    "read-only": lambda frame: np.frombuffer(frame.tobytes(), np.uint8).reshape(frame.shape),
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_strides(view):
    frame = VIEWS[view](noise(40, 60))
    contiguous = np.ascontiguousarray(frame)
    matrices = crop_transform([[14, 11]] * 2, [[12, 16]] * 2, (9, 12), "udp", [0, 0.7])
    index = np.array([0, 0])
    np.testing.assert_array_equal(
        crop_persons([frame], index, matrices, (9, 12), **PLAIN),
        crop_persons([contiguous], index, matrices, (9, 12), **PLAIN),
    )
    np.testing.assert_array_equal(
        letterbox([frame], (32, 32), **PLAIN)[0], letterbox([contiguous], (32, 32), **PLAIN)[0]
    )


def test_half_precision_and_no_people():
    matrices = crop_transform([[14, 11]], [[12, 16]], (9, 12), "udp")
    norm = {"mean": (120, 110, 100), "std": (58, 57, 56)}
    full = crop_persons([noise(40, 60)], np.array([0]), matrices, (9, 12), **norm)
    half = crop_persons([noise(40, 60)], np.array([0]), matrices, (9, 12), **norm, dtype=np.float16)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, full, atol=2e-3)
    nobody = crop_persons([], np.empty(0, np.intp), np.empty((0, 2, 3)), (9, 12), **norm)
    assert nobody.shape == (0, 3, 12, 9)


@pytest.mark.parametrize(
    ("frame_size", "scale", "target"),
    [
        ((48, 27), 2 / 3, (32, 18)),
        ((27, 48), 2 / 3, (18, 32)),
        ((64, 64), 0.5, (32, 32)),
        ((11, 20), 1.6, (18, 32)),
        ((333, 1), 32 / 333, (32, 1)),
    ],
)
def test_letterbox_is_bilinear_at_half_pixel_centres(frame_size, scale, target):
    frame = photograph(frame_size[1], frame_size[0])
    images, scales = letterbox([frame], (32, 32), **PLAIN, fill=7)
    assert images.shape == (1, 3, 32, 32)
    np.testing.assert_allclose(scales, [scale])
    width, height = target
    for v, u in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
        x = (u + 0.5) * frame_size[0] / width - 0.5
        y = (v + 0.5) * frame_size[1] / height - 0.5
        inside = np.clip([x, y], 0, np.array(frame_size) - 1)
        np.testing.assert_allclose(images[0, :, v, u], bilinear(frame, *inside), atol=1)
    expected = cv2.resize(frame, target, interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    np.testing.assert_array_equal(images[0, :, :height, :width], expected)
    assert (images[0, :, height:] == 7).all()
    assert (images[0, :, :, width:] == 7).all()


@pytest.mark.parametrize("rgb", [True, False])
def test_letterbox_normalises_frames_and_filling(rgb):
    frames = [np.full((8, 16, 3), (10, 20, 30), np.uint8), np.full((16, 16, 3), 50, np.uint8)]
    mean, std = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 8.0])
    images, scales = letterbox(frames, (32, 32), mean, std, rgb=rgb, dtype=np.float16)
    assert images.dtype == np.float16
    np.testing.assert_array_equal(scales, [2, 2])
    grey = np.array([30, 20, 10] if rgb else [10, 20, 30])
    np.testing.assert_allclose(images[0, :, 15, 31], (grey - mean) / std, rtol=1e-3)
    np.testing.assert_allclose(images[0, :, 16, 0], (114 - mean) / std, rtol=1e-3)
    np.testing.assert_allclose(images[1, :, 31, 31], (50 - mean) / std, rtol=1e-3)


def test_letterbox_of_no_frames():
    images, scales = letterbox([], (32, 16), **PLAIN)
    assert images.shape == (0, 3, 16, 32)
    assert scales.shape == (0,)
