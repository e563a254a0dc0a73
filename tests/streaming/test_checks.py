"""Each frame, and what is found in it, is checked once on its way through a stream."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt import frames as frames_module
from pcr_rt import poses as poses_module
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.models import ModelSpec
from pcr_rt.poses import Poses
from pcr_rt.streaming import reader
from pcr_rt.streaming.pipeline import PoseStream
from toys import PLAIN, blob_frame, brightness_model

FRAMES = 6


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    calls: Counter[str] = Counter()

    def count(name: str, inner: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return inner(*arguments, **options)

        return wrapped

    check = count("frame", frames_module.check_frame)
    monkeypatch.setattr(frames_module, "check_frame", check)
    monkeypatch.setattr(reader, "check_frame", check)
    monkeypatch.setattr(Poses, "__post_init__", count("poses", Poses.__post_init__))
    monkeypatch.setattr(poses_module, "_frozen", count("array", poses_module._frozen))
    return calls


def test_a_streamed_frame_and_its_poses_are_checked_once(
    tmp_path: Path, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PoseEstimator, "warmup", lambda self: None)  # it has frames of its own
    spec = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
    estimator = PoseEstimator(brightness_model(tmp_path / "m.onnx", spec), detector=None)
    clip = [blob_frame((90, 120), (30.0 + n, 70.0), sigma=9) for n in range(FRAMES)]
    shown = [poses for _, poses in PoseStream(clip, estimator, detect_every=1)]
    assert [len(poses) for poses in shown] == [1] * FRAMES
    assert all(poses.ids is not None and poses.age_ms is not None for poses in shown)
    assert counted["frame"] == FRAMES
    # The estimator's arrays are right as they come; then the tracker's ids and boxes and the
    # smoothed joints.
    assert counted["poses"] == 0
    assert counted["array"] == FRAMES * (2 + 1)


def test_a_frame_given_to_the_estimator_is_checked_once(
    tmp_path: Path, counted: Counter[str]
) -> None:
    spec = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
    path = brightness_model(tmp_path / "m.onnx", spec)
    with PoseEstimator(path) as estimator:  # and its detector
        estimator.batch([np.zeros((60, 80, 3), np.uint8)] * 2)
    assert counted["frame"] == 2
