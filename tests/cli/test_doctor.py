from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pcr_rt.cli import app
from pcr_rt.models import ModelSpec

pytestmark = pytest.mark.usefixtures("wide_terminal")


@pytest.fixture
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def test_table_names_every_check() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    for name in ("Python", "OpenCV", "ONNX Runtime", "model rtmdet-nano", "TensorRT"):
        assert name in result.stdout


def test_json_is_a_list_of_checks() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    checks = json.loads(result.stdout)
    assert all(set(check) == {"name", "status", "detail", "remedy"} for check in checks)
    assert checks[0]["name"] == "Python"


def test_an_error_gives_exit_code_one_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "pip install --force-reinstall av" in result.stdout


def test_one_model_and_what_its_scores_are(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from toys import PLAIN, brightness_model

    raw = brightness_model(tmp_path / "toy.onnx", ModelSpec("toy", "heatmap", (48, 64), **PLAIN))
    for model, words in (
        (str(raw), "heatmap, input 48x64, fp32, 17 keypoints of coco17, scores are raw"),
        (
            "pcr-tiny",
            "heatmap, input 192x256, fp32, 17 keypoints of coco17, scores are probabilities",
        ),
        ("rtmdet-nano", "boxes, input 416x416, fp32"),
    ):
        result = CliRunner().invoke(app, ["doctor", model, "--json"])
        assert result.exit_code == 0
        (check,) = json.loads(result.stdout)
        assert check["detail"] == words
        assert ("calibrate" in check["remedy"]) == ("raw" in words)
    result = CliRunner().invoke(app, ["doctor", str(tmp_path / "none.onnx")])
    assert result.exit_code == 1
    assert "does not exist" in result.stdout
