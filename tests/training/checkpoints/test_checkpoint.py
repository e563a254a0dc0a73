"""From best.pt to a model file: the recipe's spec, the averaged weights, the sizes that suit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import (
    export_checkpoint,
    load_checkpoint,
    network_and_spec,
    save_checkpoint,
)
from pcr_rt.training.networks.registry import build

MEAN, STD = (127.0, 127.0, 127.0), (128.0, 120.0, 110.0)


def checkpoint(path: Path, **network: Any) -> Path:
    """A best.pt without training."""
    torch.manual_seed(0)
    table = {"encoder": "efficientnet-lite0", "channels": [16, 16, 16], **network}
    recipe = {
        "name": "untrained",
        "person_score": "mean",
        "network": table,
        "input": {"transform": "msra", "mean": list(MEAN), "std": list(STD)},
    }
    state = build(table).state_dict()
    content = {"network": state, "recipe": recipe, "size": [96, 128], "step": 7, "score": 0.123456}
    save_checkpoint(path, content)
    return path


def test_spec_is_that_of_the_recipe(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "best.pt")
    spec, difference = export_checkpoint(path, tmp_path / "out" / "model.onnx")
    assert (spec.name, spec.kind, spec.input_size) == ("untrained", "heatmap", (96, 128))
    assert (spec.mean, spec.std, spec.transform) == (MEAN, STD, "msra")
    assert spec.person_score == "mean"
    assert spec.provenance["steps"] == 7
    assert spec.provenance["validation_ap"] == 0.1235
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert spec.provenance["checkpoint_sha256"] == digest
    assert spec.provenance["recipe"] == load_checkpoint(path)["recipe"]
    assert difference.heatmaps < 1e-4
    assert OnnxRuntimeEngine(tmp_path / "out" / "model.onnx").spec == spec


def test_weights_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "best.pt")
    export_checkpoint(path, tmp_path / "model.onnx", size=(64, 96))
    content = load_checkpoint(path)
    network = build(content["recipe"]["network"]).eval()
    network.load_state_dict(content["network"])
    images = np.random.default_rng(0).standard_normal((2, 3, 96, 64)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).levels[-1].numpy()
    (found,) = OnnxRuntimeEngine(tmp_path / "model.onnx").run(images)
    assert found.shape == (2, 17, 24, 16)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("channels", "size", "sigma"),
    [
        ([16, 16, 16], (96, 128), 1.0),  # maps of 24x32
        ([16, 16, 16], (192, 256), 2.0),  # 48x64
        ([16, 16], (192, 256), 1.0),  # 24x32: two modules leave stride 8
        ([16, 16, 16, 16], (192, 256), 4.0),  # 96x128
    ],
)
def test_sigma_follows_the_maps(
    tmp_path: Path, channels: list[int], size: tuple[int, int], sigma: float
) -> None:
    path = checkpoint(tmp_path / "best.pt", channels=channels)
    assert network_and_spec(path, size)[1].sigma == sigma


@pytest.mark.parametrize("encoder", ["efficientnet-lite0", "lite-hrnet"])
@pytest.mark.parametrize("size", [(100, 128), (144, 192), (96, 0), (16, 32)])
def test_sizes_that_do_not_suit_the_network(
    tmp_path: Path, encoder: str, size: tuple[int, int]
) -> None:
    options = {"stride": 1, "channels": [16]} if encoder == "lite-hrnet" else {}
    path = checkpoint(tmp_path / "best.pt", encoder=encoder, **options)
    with pytest.raises(DataError, match="multiples of 32, for example"):
        export_checkpoint(path, tmp_path / "model.onnx", size=size)
    assert not (tmp_path / "model.onnx").exists()
