"""The exported file computes what torch computes, says what the spec says, and takes any batch."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime as ort

from pcr_rt.cuda_kernels import reference
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.export import onnx_export
from pcr_rt.export.onnx_export import export_onnx, settle_shapes
from pcr_rt.geometry import box_to_region, crop_transform
from pcr_rt.models import ModelSpec
from pcr_rt.training.networks.registry import build

SIZE = (96, 128)
SPEC = ModelSpec("small", "heatmap", SIZE, sigma=1.0, provenance={"ap": 0.5, "data": ["a", "b"]})
# Boxes of people in the shipped image and of its corners.
BOXES = [[100, 60, 180, 260], [300, 100, 380, 300], [0, 0, 50, 90], [400, 200, 520, 420]]


@pytest.fixture(scope="module")
def network() -> Any:
    """Two levels on EfficientNet-Lite0, with heads large enough that the maps are of height 1."""
    torch.manual_seed(0)
    table = {"encoder": "efficientnet-lite0", "channels": [16, 16, 16], "levels": 2}
    network = build(table).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        level = network(torch.randn(4, 3, 128, 96)).levels[-1]
        for head in network.heads:
            head.weight *= 1 / level.std()
    return network


@pytest.fixture(scope="module")
def crops(sample_image: Path) -> Any:
    frame = cv2.imread(str(sample_image))
    centre, region = box_to_region(BOXES, SIZE[0] / SIZE[1])
    views = crop_transform(centre, region, SIZE, "udp")
    index = np.zeros(len(BOXES), dtype=int)
    return reference.crop_persons([frame], index, views, SIZE, SPEC.mean, SPEC.std, rgb=True)


@pytest.fixture(scope="module")
def exported(network: Any, crops: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    return path, export_onnx(network, SPEC, path)


def test_equals_torch_on_real_crops(network: Any, crops: Any, exported: Any) -> None:
    path, difference = exported
    with torch.no_grad():
        expected = network(torch.from_numpy(crops)).levels[-1].numpy()
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": crops})
    assert found.shape == (len(BOXES), 17, 32, 24)
    assert np.abs(expected).max() > 0.5  # else a small difference would say nothing
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert 0 < difference.heatmaps < 1e-4
    assert difference.pixels < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pcr-tiny", "pcr-mobilenet", "pcr-r50", "pcr-w32"])
def test_networks_of_the_project_equal_torch(name: str, crops: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(name).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 0.5)  # else fresh weights let maps grow to 1e4
    with torch.no_grad():
        level = network(torch.from_numpy(crops)).levels[-1]
        for head in network.heads:
            head.weight *= 1 / level.std()
        expected = network(torch.from_numpy(crops)).levels[-1].numpy()
    difference = export_onnx(network, SPEC, tmp_path / "network.onnx")
    (found,) = OnnxRuntimeEngine(tmp_path / "network.onnx", device="cpu").run(crops)
    assert found.shape == (len(BOXES), 17, 32, 24)
    assert 0.5 < np.abs(expected).max() < 100
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert difference.heatmaps < 1e-3
    assert difference.pixels < 1e-2


def test_heatmaps_that_agree_with_places_that_do_not_are_refused(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flat maps: an error far below the heatmaps' bound moves every peak."""
    flat = copy.deepcopy(network)
    with torch.no_grad():
        for head in flat.heads:
            head.weight.zero_()
            head.bias.zero_()

    def bump(path: Path, crops: Any) -> Any:
        maps = np.zeros((len(crops), 17, 32, 24), np.float32)
        maps[:, :, 20, 20] = 5e-4
        return maps

    monkeypatch.setattr(onnx_export, "_run", bump)
    with pytest.raises(ModelError, match="differs from torch"):
        export_onnx(flat, SPEC, tmp_path / "small.onnx")


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_batch_is_open(network: Any, crops: Any, exported: Any, batch: int) -> None:
    images = np.concatenate([crops, crops])[:batch]
    session = ort.InferenceSession(str(exported[0]), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).levels[-1].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_file_holds_the_spec_and_the_last_level_alone(exported: Any) -> None:
    model = onnx.load(exported[0])
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    (metadata,) = model.metadata_props
    assert metadata.key == "pcr_rt"
    assert ModelSpec.from_json(metadata.value) == SPEC
    assert json.loads(metadata.value)["provenance"] == {"ap": 0.5, "data": ["a", "b"]}
    assert OnnxRuntimeEngine(exported[0]).spec == SPEC

    def shape(value: Any) -> list[Any]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    (entry,), (exit_,) = model.graph.input, model.graph.output
    assert (entry.name, shape(entry)) == ("images", ["batch", 3, 128, 96])
    assert (exit_.name, shape(exit_)) == ("heatmaps", ["batch", 17, 32, 24])
    # The auxiliary heads, for training only, would be two more convolutions to 17 channels.
    heads = [v for v in model.graph.initializer if v.dims and v.dims[0] == 17 and len(v.dims) == 4]
    assert len(heads) == 1
    # Batch norms are folded into the convolutions.
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_the_same_network_gives_the_same_file(network: Any, exported: Any, tmp_path: Path) -> None:
    export_onnx(network, SPEC, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported[0].read_bytes()


@pytest.mark.parametrize("error", [0.01, float("nan")])
def test_a_file_that_differs_is_not_written(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    run = onnx_export._run
    monkeypatch.setattr(onnx_export, "_run", lambda path, crops: run(path, crops) + error)
    path = tmp_path / "small.onnx"
    path.write_bytes(b"the good file of before")
    with pytest.raises(ModelError, match=r"differs from torch \(heatmaps by at most .* px\)"):
        export_onnx(network, SPEC, path)
    assert path.read_bytes() == b"the good file of before"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(network: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.onnx").mkdir()
    for path in (tmp_path / "file" / "small.onnx", tmp_path / "folder.onnx"):
        with pytest.raises(InputError, match="cannot be written"):
            export_onnx(network, SPEC, path)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.onnx"}


class Shuffle(torch.nn.Module):
    """Halves, interleaved, then flattened by channel, which as a network asks for its shape."""

    def forward(self, x: Any) -> Any:
        a, b = x.chunk(2, dim=1)
        return torch.stack((a, 2 * b), dim=2).flatten(1, 2)


@pytest.fixture
def shuffle(tmp_path: Path) -> Any:
    path = tmp_path / "shuffle.onnx"
    torch.onnx.export(
        Shuffle(),
        (torch.zeros(2, 6, 4, 5),),
        str(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    return onnx.load(path)


@pytest.mark.filterwarnings("ignore")
def test_no_shapes_are_computed_and_the_batch_is_free(shuffle: Any) -> None:
    assert "Shape" in {node.op_type for node in shuffle.graph.node}
    settled = settle_shapes(shuffle)
    assert not {node.op_type for node in settled.graph.node} & {"Shape", "Gather", "Div"}
    session = ort.InferenceSession(settled.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 6, 4, 5]
    assert session.get_outputs()[0].shape == ["batch", 6, 4, 5]
    for batch in (1, 2, 5):
        x = np.random.default_rng(batch).normal(size=(batch, 6, 4, 5)).astype(np.float32)
        (found,) = session.run(None, {"x": x})
        # By hand: channels 0, 3 twice as large, 1, 4, 2, 5.
        expected = x[:, [0, 3, 1, 4, 2, 5]] * np.array([1, 2, 1, 2, 1, 2]).reshape(1, 6, 1, 1)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
