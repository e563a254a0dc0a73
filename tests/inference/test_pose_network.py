from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pcr_rt.errors import ModelError
from pcr_rt.inference.pose_network import PoseNetwork, crop_transforms, samples_to_frame
from pcr_rt.models import ModelSpec

MSRA = ModelSpec("m", "heatmap", (192, 256), transform="msra")
# A box of the input's size: the crop is 1.25 times as large, 240x320 around (96, 128).
BOX = np.array([[0.0, 0, 192, 256]])
CROP = [[[1.25, 0, -24], [0, 1.25, -32]]]


class Blank:
    """An engine whose heatmaps are of 48x64 samples."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.runs = spec, 0

    def run(self, images: Any) -> list[Any]:
        self.runs += 1
        return [np.zeros((len(images), 17, 64, 48), np.float32)]

    def close(self) -> None:
        pass


def test_crops_by_hand() -> None:
    np.testing.assert_allclose(crop_transforms(BOX, MSRA), CROP)
    udp = ModelSpec("u", "heatmap", (192, 256), padding=1.0)
    step = np.array([192 / 191, 256 / 255])  # first and last pixel lie on the region's borders
    expected = [[[step[0], 0, 0], [0, step[1], 0]]]
    np.testing.assert_allclose(crop_transforms(BOX, udp), expected, atol=1e-9)
    # A flat box grows to the input's aspect: 96 wide, so 128 high around (48, 10).
    flat = ModelSpec("f", "heatmap", (192, 256), transform="msra", padding=1.0)
    expected = [[[0.5, 0, 0], [0, 0.5, -54]]]
    np.testing.assert_allclose(crop_transforms([[0, 0, 96, 20]], flat), expected)


def test_samples_lie_four_input_pixels_apart() -> None:
    np.testing.assert_allclose(
        samples_to_frame(np.array(CROP), MSRA, (48, 64)), [[[5, 0, -24], [0, 5, -32]]]
    )


def test_views_of_a_network() -> None:
    engine = Blank(MSRA)
    network = PoseNetwork(engine)
    (plain,) = network.views(BOX, flip_test=False)
    assert engine.runs == 0  # only the mirrored view depends on the heatmaps
    plain, mirrored = network.views(BOX, flip_test=True)
    np.testing.assert_allclose(plain, CROP)
    # The last of 48 columns lies at input pixel 188, frame x = 188 * 1.25 - 24.
    np.testing.assert_allclose(mirrored, [[[-1.25, 0, 211], [0, 1.25, -32]]])
    assert engine.runs == 1


def test_inputs_are_cut_from_the_frames_that_are_named() -> None:
    frames = [np.full((256, 192, 3), level, np.uint8) for level in (10, 20)]
    spec = ModelSpec("m", "heatmap", (192, 256), (0, 0, 0), (1, 1, 1), transform="msra", padding=1)
    network = PoseNetwork(Blank(spec))
    boxes = np.repeat(BOX, 3, axis=0)
    images, crops = network.crop(frames, np.array([0, 1, 1]), boxes, flip_test=True)
    assert crops.shape == (3, 2, 3)
    np.testing.assert_allclose(images[:, :, 100, 100], np.array([[10, 20, 20] * 2] * 3).T)


def test_a_detector_is_no_pose_network() -> None:
    with pytest.raises(ModelError, match="not a pose model"):
        PoseNetwork(Blank(ModelSpec("d", "boxes", (416, 416))))
