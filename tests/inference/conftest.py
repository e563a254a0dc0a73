"""What the tests on the emulated device share: the emulated device, a toy network, a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def cupy(emulated_device: Any) -> Any:
    return emulated_device


@pytest.fixture
def model(tmp_path: Path) -> Path:
    pytest.importorskip("onnx")
    from toy_estimators import SPEC
    from toys import brightness_model

    return brightness_model(tmp_path / "m.onnx", SPEC, size=(24, 32))


@pytest.fixture
def frame() -> np.ndarray:
    from toy_estimators import draw_patches

    return draw_patches()
