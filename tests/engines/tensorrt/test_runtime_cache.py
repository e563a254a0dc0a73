"""Kernels that TensorRT-RTX has made are found again, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.engine import TensorRTEngine
from pcr_rt.models import ModelSpec
from toys import PLAIN, brightness_model

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)


@pytest.mark.parametrize("tensorrt", ["rtx-1.7.1"], indirect=True)
def test_rtx_keeps_its_kernels(tensorrt: Any, tmp_path: Path) -> None:
    plan, _ = cached_engine(load(), brightness_model(tmp_path / "toy.onnx", SPEC), SPEC)
    engine = TensorRTEngine(plan)
    engine.run(np.zeros((1, 3, 64, 48), np.float32))
    engine.close()
    again = TensorRTEngine(engine.plan)
    assert tensorrt.behaviour.kernels == b"kernels"
    again.close()
    file = engine.plan.with_name(f"{engine.plan.name}.runtime-cache")
    file.write_bytes(b"kernels of somebody else")
    tensorrt.behaviour.kernels = b""
    TensorRTEngine(engine.plan).close()
    assert tensorrt.behaviour.kernels == b""
