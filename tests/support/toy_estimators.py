"""Estimators of a toy network on the host and on the device, and what they find alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pcr_rt.inference.device import DeviceStages
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.models import ModelSpec
from pcr_rt.poses import Poses
from stand_in_engine import StandInEngine
from toys import PLAIN

SPEC = ModelSpec("toy", "heatmap", (24, 32), person_score="mean>0.2", **PLAIN)
BOXES = [[12.0, 8.0, 40.0, 50.0], [30.5, 4.0, 60.0, 60.0], [-9.0, 20.0, 20.0, 75.0]]


def draw_patches() -> np.ndarray:
    """Draw a frame (72, 64, 3) of smooth patches, so that every crop has one clear peak."""
    y, x = np.mgrid[0:72, 0:64]
    image = np.zeros((72, 64, 3))
    for cx, cy, size in ((25, 30, 40), (47, 30, 90), (8, 50, 60), (52, 60, 20)):
        image += 120 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / size)[..., None]
    return image.clip(0, 255).astype(np.uint8)


def both(make: Callable[[Any], Any], **options: Any) -> tuple[PoseEstimator, PoseEstimator]:
    """Make an estimator on the host and one on the device, alike otherwise."""
    options = {"detector": None, "score_threshold": 0.05, **options}
    host, device = (
        PoseEstimator(make(str), **options),
        PoseEstimator(make(StandInEngine), **options),
    )
    assert isinstance(device._stages, DeviceStages)
    return host, device


def same(found: Poses, expected: Poses) -> None:
    assert len(found) == len(expected)
    assert found.image_size == expected.image_size
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.01)
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=0.001)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.001)
