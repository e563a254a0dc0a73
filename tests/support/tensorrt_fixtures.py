"""Fixtures of what runs on TensorRT's stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcr_rt.inference import loading

__all__ = ["fresh_sentences", "private_home", "tensorrt"]


@pytest.fixture
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Engines go to a folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pcr-rt" / "engines"


@pytest.fixture
def tensorrt(request: Any, monkeypatch: pytest.MonkeyPatch, private_home: Path) -> Any:
    """The stand-in of TensorRT 10.3, or of the version that a test is parametrised with."""
    pytest.importorskip("onnx")
    import tensorrt_standin

    return tensorrt_standin.install(monkeypatch, getattr(request, "param", "10.3.0"))


@pytest.fixture(autouse=True)
def fresh_sentences() -> None:
    """What is said once a process is said once a test."""
    loading._say_once.cache_clear()
