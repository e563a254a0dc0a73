"""The command line in this process, as `pcr-rt` runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.cli import main
from pcr_rt.models import ModelSpec


@dataclass(frozen=True)
class Answer:
    """Exit code and what was written."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Answer]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The file of a model whose heatmaps are the crop's brightness."""
    pytest.importorskip("onnx")
    from toys import PLAIN, brightness_model

    return brightness_model(tmp_path / "toy.onnx", ModelSpec("toy", "heatmap", (48, 64), **PLAIN))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``pcr-rt`` with these arguments; on a wide terminal, so that nothing is wrapped."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["pcr-rt", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code
        assert code is None or isinstance(code, int)
        return Answer(code or 0, *capsys.readouterr())

    return run
