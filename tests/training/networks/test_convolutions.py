"""Weights from OpenVINO IR files that the tests write themselves."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import ModelError
from pcr_rt.training.networks.convolutions import published_convolutions
from pcr_rt.training.networks.lite_hrnet import (
    LiteHRNetEncoder,
    _in_published_order,
    load_tinypose,
)


class Writer:
    """An IR in the making: layers, edges and constants, in the order in which they are added."""

    def __init__(self) -> None:
        self.root = ElementTree.Element("net", name="Model", version="11")
        self.layers = ElementTree.SubElement(self.root, "layers")
        self.edges = ElementTree.SubElement(self.root, "edges")
        self.weights = b""

    def layer(self, kind: str, *sources: str, **data: str) -> str:
        number = str(len(self.layers))
        layer = ElementTree.SubElement(self.layers, "layer", id=number, name=number, type=kind)
        ElementTree.SubElement(layer, "data", data)
        for port, source in enumerate(sources):
            ends = {"from-layer": source, "from-port": "0"}
            ends |= {"to-layer": number, "to-port": str(port)}
            ElementTree.SubElement(self.edges, "edge", ends)
        return number

    def constant(self, values: np.ndarray, half: bool = False) -> str:
        stored = values.astype(np.float16 if half else np.float32)
        place = {"offset": str(len(self.weights)), "size": str(stored.nbytes)}
        shape = ", ".join(map(str, values.shape))
        self.weights += stored.tobytes()
        kind = "f16" if half else "f32"
        number = self.layer("Const", element_type=kind, shape=shape, **place)
        return self.layer("Convert", number, destination_type="f32") if half else number

    def save(self, folder: Path) -> Path:
        path = folder / "model.xml"
        path.write_bytes(ElementTree.tostring(self.root))
        path.with_suffix(".bin").write_bytes(self.weights)
        return path


def test_convolutions_with_and_without_groups_in_half_and_single(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dense, grouped = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(2, 2, 2, 3, 3))
    bias = rng.normal(size=(1, 4, 1, 1))
    ir = Writer()
    x = ir.layer("Parameter")
    x = ir.layer("Convolution", x, ir.constant(dense, half=True))
    x = ir.layer("Add", ir.constant(bias), x)
    x = ir.layer("ReLU", x)
    y = ir.layer("GroupConvolution", x, ir.constant(grouped))
    ir.layer("Add", y, x)  # a sum with another map is no bias
    first, second = published_convolutions(ir.save(tmp_path))
    np.testing.assert_array_equal(first[0], dense.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(first[1], bias.ravel().astype(np.float32))
    np.testing.assert_array_equal(second[0], grouped.reshape(4, 2, 3, 3).astype(np.float32))
    assert second[1] is None


def test_the_encoder_of_pp_tinypose(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = LiteHRNetEncoder().eval(), LiteHRNetEncoder().eval()
    head = torch.nn.Conv2d(40, 17, 1)
    ir = Writer()
    x = ir.layer("Parameter")
    for convolution in (*_in_published_order(source), head):
        weight = convolution.weight.detach().numpy()
        if convolution.groups > 1:
            weight = weight[:, None]
        kind = "GroupConvolution" if convolution.groups > 1 else "Convolution"
        y = ir.layer(kind, x, ir.constant(weight))
        x = ir.layer("Add", y, ir.constant(convolution.bias.detach().numpy()[None, :, None, None]))
    path = ir.save(tmp_path)
    load_tinypose(target, path)
    image = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(target(image), source(image))
    weight, bias = published_convolutions(path)[-1]
    torch.testing.assert_close(weight, head.weight.detach())
    torch.testing.assert_close(bias, head.bias.detach())


def test_unusable_files(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    with pytest.raises(ModelError, match="not a readable OpenVINO IR"):
        published_convolutions(path)
    path.write_text("<net><layers>")
    with pytest.raises(ModelError, match="not a readable OpenVINO IR"):
        published_convolutions(path)
    ir = Writer()
    x = ir.layer("Parameter")
    ir.layer("Convolution", x, x)
    with pytest.raises(ModelError, match="no constant weights"):
        published_convolutions(ir.save(tmp_path))
    ir = Writer()
    x = ir.layer("Parameter")
    ir.layer("Convolution", x, ir.constant(np.ones((4, 3, 3, 3))))
    path = ir.save(tmp_path)
    path.with_suffix(".bin").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"are not in the \.bin"):
        published_convolutions(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match=r"with the \.bin beside it"):
        published_convolutions(path)
