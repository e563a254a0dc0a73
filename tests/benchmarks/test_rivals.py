"""What the kernels are compared with has to give the kernels' results."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import rivals
from pcr_rt.cuda_kernels import reference
from pcr_rt.geometry import crop_transform
from pcr_rt.skeleton import COCO17

FRAME = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
TRANSFORMS = crop_transform([[50, 40], [110, 85]], [[60, 80], [90, 120]], (192, 256), "udp")
MAPS = np.random.default_rng(1).random((2, 17, 64, 48), dtype=np.float32)


def test_places():
    boxes = np.array([[20.0, 0, 80, 90], [-10, 5, 70, 21]])
    expected = reference.place_people(
        boxes, [0, 2], size=rivals.CROP, transform="udp", padding=rivals.PADDING
    )
    for found in (rivals.place(np, boxes), rivals.place(torch, torch.as_tensor(boxes))):
        np.testing.assert_allclose(found[0], expected.to_frame)
        np.testing.assert_allclose(found[1], expected.areas)


def test_crops():
    expected = reference.crop_persons(
        [FRAME], np.zeros(2, int), TRANSFORMS, rivals.CROP, rivals.MEAN, rivals.STD
    )
    found = rivals.cupy_crop(np, FRAME, TRANSFORMS)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    found = rivals.torch_crop(torch, torch.as_tensor(FRAME), torch.as_tensor(TRANSFORMS))
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_decoding():
    keypoints, scores = reference.decode_heatmaps(MAPS, TRANSFORMS, method="none")
    found, best = rivals.cupy_decode(np, MAPS, TRANSFORMS)
    np.testing.assert_allclose(found, keypoints, atol=1e-3)
    np.testing.assert_array_equal(best, scores)
    found, best = rivals.torch_decode(torch, torch.as_tensor(MAPS), torch.as_tensor(TRANSFORMS))
    np.testing.assert_allclose(found, keypoints, atol=1e-3)
    np.testing.assert_array_equal(best, scores)


def test_letterbox():
    frames = np.stack([FRAME, FRAME[::-1]])
    mean_std = {"mean": rivals.MEAN, "std": rivals.STD}
    expected, _ = reference.letterbox(list(frames), rivals.LETTERBOX, **mean_std)
    # The reference is within one grey level; torch interpolates exactly.
    exact = rivals.torch_letterbox(torch, torch.as_tensor(frames)).numpy()
    np.testing.assert_allclose(exact, expected, atol=1 / 57)
    np.testing.assert_allclose(rivals.cupy_letterbox(np, frames), exact, atol=1e-3)


def test_simcc():
    rng = np.random.default_rng(2)
    x, y = (rng.random((2, 17, side), dtype=np.float32) for side in (384, 512))
    expected = reference.decode_simcc(x, y, TRANSFORMS, split=2.0)
    tensors = map(torch.as_tensor, (x, y, TRANSFORMS))
    for found in (
        rivals.cupy_simcc(np, x, y, TRANSFORMS),
        rivals.torch_simcc(torch, *tensors),
    ):
        np.testing.assert_allclose(found[0], expected[0], atol=1e-3)
        np.testing.assert_array_equal(found[1], expected[1])


def test_boxes():
    rng = np.random.default_rng(3)
    maps = [rng.normal(0, 12, (2, 416 // s, 416 // s, 5)).astype(np.float32) for s in (8, 16, 32)]
    for one in maps:
        one[..., 0] = rng.normal(-3, 2, one.shape[:-1])
    frames = np.array([[0.2, 1920, 1080], [0.5, 640, 832]])
    expected = reference.decode_boxes(
        maps, "rtmdet", frames[:, 0], frames[:, 1:], input_size=(416, 416), score_threshold=0.2
    )
    tensors = map(torch.as_tensor, (frames, *maps))
    for boxes, scores in (
        rivals.cupy_boxes(np, frames, *maps),
        rivals.torch_boxes(torch, *tensors),
    ):
        for i, (wanted, wanted_scores) in enumerate(expected):
            assert 50 < len(wanted) < 1000
            np.testing.assert_allclose(boxes[i, : len(wanted)], wanted, rtol=1e-5, atol=1e-3)
            np.testing.assert_allclose(scores[i, : len(wanted)], wanted_scores, rtol=1e-5)
            assert (scores[i, len(wanted) :] == -1).all()


def test_suppression():
    rng = np.random.default_rng(4)
    corner = rng.uniform(0, 60, (2, 40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 60, (2, 40, 2))], axis=-1)
    points = rng.uniform(0, 20, (2, 40, 17, 2)) + corner[:, :, None]
    points[:, 1::2] = points[:, ::2] + 1
    areas = rng.uniform(900, 3600, (2, 40))
    scores = np.linspace(1, 0.2, 40)
    decay = 1 / (2 * (2 * COCO17.sigma_array) ** 2)
    arguments = [boxes], [points, areas, decay]
    for i, (in_numpy, in_torch) in enumerate(
        zip(
            (rivals.box_nms(np, *arguments[0]), rivals.oks_nms(np, *arguments[1])),
            (
                rivals.box_nms(torch, *map(torch.as_tensor, arguments[0])),
                rivals.oks_nms(torch, *map(torch.as_tensor, arguments[1])),
            ),
            strict=True,
        )
    ):
        for b in range(2):
            expected = (
                reference.box_nms(boxes[b], scores, 0.6, 100)
                if i == 0
                else reference.oks_nms(points[b], scores, areas[b], method="hard")[0]
            )
            assert 5 < len(expected) < 40
            np.testing.assert_array_equal(np.flatnonzero(in_numpy[b]), expected)
            np.testing.assert_array_equal(np.flatnonzero(in_torch[b]), expected)
