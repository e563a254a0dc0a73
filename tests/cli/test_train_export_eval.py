"""The whole way through the command line: train, export, evaluate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("pycocotools")

from pcr_rt import PoseEstimator
from pcr_rt.cli import app
from pcr_rt.coco.evaluation import evaluate
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint, network_and_spec
from pcr_rt.training.torch_engine import TorchEngine


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_trained_model_is_exported_and_scores_as_in_training(drawn: Path, tmp_path: Path) -> None:
    labels = json.loads((drawn / "labels.json").read_text())
    for person in labels["annotations"]:
        # So large that keypoints far off count for something: six steps teach next to nothing, and
        # an AP of 0 would be the same for every model.
        person["area"] = 600_000
    data = tmp_path / "data"
    shutil.copytree(drawn, data)
    (data / "labels.json").write_text(json.dumps(labels))

    runs, model = tmp_path / "runs", tmp_path / "drawn.onnx"
    options = ("--data", data, "--output", runs, "--device", "cpu")
    done = run("train", data / "recipe.toml", *options)
    assert f"done: pcr-rt run IMAGE --model {runs / 'drawn.onnx'}\n" in done
    best = load_checkpoint(runs / "best.pt")
    assert best["step"] > 0
    exported = run("export", runs / "best.pt", model)
    assert model.stat().st_size == (runs / "drawn.onnx").stat().st_size
    width, height = best["size"]
    assert f"drawn, fp32, input {width}x{height} (w x h)" in exported

    file = tmp_path / "results.json"
    options = ("-m", model, "--json", "--results", file)
    answer = json.loads(run("eval", data / "labels.json", data / "images", *options))
    assert answer["people"] == answer["results"] == 8
    assert 0.02 < best["score"] < 0.98
    assert answer["ap"] == pytest.approx(best["score"], abs=1e-6)

    network, spec = network_and_spec(runs / "best.pt")
    in_torch = PoseEstimator(TorchEngine(network, spec), detector=None, score_threshold=0, nms=None)
    _, expected = evaluate(in_torch, data / "labels.json", data / "images")
    found = np.array([result["keypoints"] for result in json.loads(file.read_text())])
    np.testing.assert_allclose(found, [result["keypoints"] for result in expected], atol=0.05)
