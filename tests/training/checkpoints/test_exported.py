from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError, ModelError
from pcr_rt.export.onnx_export import export_onnx
from pcr_rt.models import ModelSpec, model_path
from pcr_rt.training.checkpoints.exported import load_exported
from pcr_rt.training.data.input import Input
from pcr_rt.training.networks.registry import build
from pcr_rt.training.recipe import load_recipe

SPEC = ModelSpec("own", "heatmap", (64, 64), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
PYRAMID = {"encoder": "mobilenet-v2", "channels": [8], "levels": 2, "stride": 1, "pyramid": 16}


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build(PYRAMID).eval()
    for module in source.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    for head in source.heads:  # as they are made, they give maps of almost nothing
        torch.nn.init.normal_(head.weight)
        torch.nn.init.normal_(head.bias)
    export_onnx(source, SPEC, tmp_path / "own.onnx")
    network = build(PYRAMID)
    load_exported(network, tmp_path / "own.onnx", Input())
    assert network.training
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        maps = network.eval()(images).levels[-1]
        expected = source(images).levels[-1]
    assert expected.std() > 0.1
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-4)


def test_files_of_other_networks_leave_everything_as_it_was() -> None:
    recipe = load_recipe("pcr-nano")
    network = build(recipe.network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(DataError, match="not of this recipe's network"):
        load_exported(network, model_path("pcr-tiny", "fp32"), recipe.input)
    with pytest.raises(DataError, match="without --plain"):
        load_exported(build("pcr-tiny"), model_path("pcr-lite", "fp32"), recipe.input)
    with pytest.raises(ModelError, match="give the FP32 file"):
        load_exported(network, model_path("pcr-nano", "fp16"), recipe.input)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
