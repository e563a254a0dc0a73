from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from pcr_rt.training.monitor import Monitor


def test_curves_and_images_are_written(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monitor = Monitor(tmp_path)
    for step in range(1, 31):
        monitor.step(step, loss=1 / step, rate=0.5)
    bgr = np.zeros((8, 6, 3), np.uint8)
    bgr[..., 2] = 255  # red
    monitor.validation(30, "AP", 0.25, bgr)
    monitor.close()
    log = events.EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in log.Scalars("train/loss")] == [
        (10, 0.1),
        (20, 0.05),
        (30, 1 / 30),
    ]
    assert log.Scalars("validation/AP")[0].value == 0.25
    image = log.Images("validation/poses")[0]
    assert (image.height, image.width) == (8, 6)


def test_without_tensorboard_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monitor = Monitor(tmp_path)
    monitor.step(10, loss=1.0)
    monitor.validation(10, "AP", 0.5, None)
    monitor.close()
    assert not (tmp_path / "tensorboard").exists()
