from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.frames import CheckedFrames
from pcr_rt.inference.boxes import Boxes
from pcr_rt.inference.host import HostStages
from pcr_rt.inference.pose_network import PoseNetwork
from pcr_rt.inference.selection import Selection
from pcr_rt.models import ModelSpec

SPEC = ModelSpec("m", "heatmap", (192, 256), transform="msra")
SELECTION = Selection(0.2, None, "hard", 0.9, "rms")
FRAMES = [np.full((256, 192, 3), level, np.uint8) for level in (1, 2, 3)]


class OnePeak:
    """An engine that sees every joint at sample (10, 20), 0.5 high."""

    spec = SPEC

    def run(self, images: Any) -> list[Any]:
        maps = np.zeros((len(images), 17, 64, 48), np.float32)
        maps[:, :, 20, 10] = 0.5
        return [maps]

    def close(self) -> None:
        pass


def no_detector(frames: Any, threshold: float) -> list[Boxes]:
    raise AssertionError("nobody asked")


def test_people_by_hand() -> None:
    stages = HostStages([PoseNetwork(OnePeak())], no_detector, flip_test=False)
    boxes = np.array([[0.0, 0, 192, 256], [10, 0, 202, 256], [0, 0, 192, 256]])
    with stages.scene(FRAMES) as scene:
        keypoints, scores, kept = scene.people([1, 0, 2], boxes, np.ones(3), "none", SELECTION)
    # Crops 1.25 times the box, samples 4 input pixels apart: 5 frame pixels a sample.
    x, y = 10 * 5 - 24, 20 * 5 - 32
    expected = np.array([[x, y], [x + 10, y], [x, y]])
    np.testing.assert_allclose(keypoints, np.repeat(expected[:, None], 17, axis=1), atol=1e-4)
    np.testing.assert_array_equal(scores, np.full((3, 17), 0.5, np.float32))
    assert kept == [None] * 3
    assert set(scene.times) == {"crop", "infer", "decode"}


def test_only_the_frames_that_are_asked_for_are_searched() -> None:
    asked: list[Any] = []

    def find(frames: Any, threshold: float) -> list[Boxes]:
        asked.append(([int(frame[0, 0, 0]) for frame in frames], threshold))
        return [(np.zeros((0, 4)), np.zeros(0)) for _ in frames]

    with HostStages([PoseNetwork(OnePeak())], find, flip_test=False).scene(FRAMES) as scene:
        assert len(scene.detect([0, 2], 0.3)) == 2
    assert asked == [([1, 3], 0.3)]


def test_frames_are_checked_unless_they_were() -> None:
    stages = HostStages([PoseNetwork(OnePeak())], no_detector, flip_test=False)
    grey: Any = np.zeros((4, 4), np.uint8)
    with pytest.raises(InputError, match="grey"), stages.scene([grey]):
        pass
    with stages.scene(CheckedFrames([grey])):
        pass
