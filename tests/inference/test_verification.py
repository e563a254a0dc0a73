from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.inference.verification import SAMPLE, compare, differences
from pcr_rt.models import ModelSpec
from toys import brightness_model


class Moved:
    """An engine whose outputs are those of another one, changed."""

    def __init__(self, engine: OnnxRuntimeEngine, change: Any) -> None:
        self.engine, self.spec, self.change = engine, engine.spec, change

    def run(self, images: Any) -> Any:
        return [self.change(output) for output in self.engine.run(images)]

    def close(self) -> None:
        self.engine.close()


@pytest.fixture(scope="module")
def lite() -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine("pcr-lite", device="cpu")


def test_keypoints_that_moved_by_two_samples(lite: OnnxRuntimeEngine) -> None:
    (found,) = compare(lite, Moved(lite, lambda maps: np.roll(maps, 2, axis=3)), [SAMPLE])
    assert lite.spec.transform == "msra"  # samples of a map of width w lie W / w pixels apart
    width = lite.run(np.zeros((1, 3, 256, 192), np.float32))[0].shape[3]
    assert found.unit == "px"
    assert np.median(found.values) == pytest.approx(2 * 192 / width, rel=0.01)
    assert found.worst == found.values.max()
    assert len(found.values) == (found.first.keypoint_scores > 0.3).sum()


def test_boxes_that_grew() -> None:
    detector = OnnxRuntimeEngine("rtmdet-nano", device="cpu")

    def wider(heads: Any) -> Any:
        # Distances to the right side of a box, in the fourth of the five columns, grow by 10 %.
        return heads * np.array([1, 1, 1, 1.1, 1], np.float32)

    (found,) = compare(detector, Moved(detector, wider), [SAMPLE])
    assert found.unit == "IoU"
    assert found.worst == found.values.min()
    # A box whose right part, a half to nearly all of its width, is 10 % wider.
    assert 1 / 1.1 - 0.02 <= np.median(found.values) <= 1 / 1.04
    (same,) = compare(detector, detector, [SAMPLE])
    np.testing.assert_allclose(differences([same]), 1)


def test_what_cannot_be_compared(lite: OnnxRuntimeEngine, tmp_path: Path) -> None:
    small = brightness_model(tmp_path / "small.onnx", ModelSpec("small", "heatmap", (48, 64)))
    with pytest.raises(ModelError, match="two files of one model"):
        compare(lite, OnnxRuntimeEngine(small, device="cpu"), [SAMPLE])
    with pytest.raises(ModelError, match="two files of one model"):
        compare(lite, OnnxRuntimeEngine("rtmdet-nano", device="cpu"), [SAMPLE])
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 128, np.uint8))
    with pytest.raises(InputError, match="nothing can be compared"):
        compare(lite, lite, [tmp_path / "grey.png"])
