"""What INT8 costs, by a clock that moves as the engines say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pcr_rt.benchmark import int8
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine


def test_the_ratio_is_of_int8_to_fp32_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    took = {"fp32": 0.020, "int8": 0.025}

    def run(self: Any, images: np.ndarray) -> None:
        assert images.shape == (1, 3, 256, 192)
        assert self._threads == 1
        now[0] += took[self.spec.precision]

    monkeypatch.setattr(OnnxRuntimeEngine, "run", run)
    monkeypatch.setattr(int8.time, "thread_time", lambda: now[0])
    assert int8.int8_cost()["p50"] == pytest.approx(1.25)
