"""Convolution weights: read from a published ONNX file or OpenVINO IR, copied into an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pcr_rt.errors import MissingDependencyError, ModelError

__all__ = [
    "fill_convolutions",
    "ir_convolutions",
    "onnx_convolutions",
    "published_convolutions",
]

Weights = tuple[Tensor, Tensor | None]
"""Weight and bias of a convolution."""

_IR_TYPES = {"f32": np.float32, "f16": np.float16}
"""Element types of an OpenVINO IR that are read."""


def published_convolutions(path: str | PathLike[str]) -> list[Weights]:
    """Read weight and bias of each convolution of an ONNX file or OpenVINO IR (.xml), in FP32.

    They come in the order of the file. Raises ModelError if it cannot be read, or if a
    convolution's weights are not constants.
    """
    file = Path(path)
    return ir_convolutions(file) if file.suffix == ".xml" else onnx_convolutions(file)


def onnx_convolutions(path: Path) -> list[Weights]:
    """Read weight and bias of each convolution of an ONNX file, in the order of its nodes, in FP32.

    Transposed convolutions are among them. Weights may be stored as FP16 behind a Cast, and a bias
    may stand in an Add of its own behind its convolution. Raises ModelError if a convolution's
    weights are not constants.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingDependencyError(
            "Reading an ONNX file's weights needs onnx: pip install '.[export]'."
        ) from error
    try:
        graph = onnx.load(path).graph
    except Exception as error:
        raise ModelError(f"{path} is not a readable ONNX file; give the published one.") from error
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    added = {
        node.input[0]: node.input[1]
        for node in graph.node
        if node.op_type == "Add" and node.input[1] in constants
    }

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(constants[name]).copy()).float()

    found: list[Weights] = []
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        bias = node.input[2] if len(node.input) > 2 else added.get(node.output[0])
        if node.input[1] not in constants or (bias and bias not in constants):
            raise ModelError(f"{path}: convolution {node.name!r} has no constant weights.")
        found.append((tensor(node.input[1]), tensor(bias).flatten() if bias else None))
    return found


class _IrGraph:
    """The layers of an IR by their id, in the order of the file, and what feeds and reads each."""

    def __init__(self, path: Path) -> None:
        try:
            root = ElementTree.parse(path).getroot()
            self.weights = path.with_suffix(".bin").read_bytes()
        except (OSError, ElementTree.ParseError) as error:
            raise ModelError(
                f"{path} is not a readable OpenVINO IR; give its .xml, with the .bin beside it."
            ) from error
        self.layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
        self.inputs: dict[tuple[str, str], str] = {}
        self.readers: dict[str, list[tuple[str, str]]] = {}
        for edge in root.iterfind("edges/edge"):
            source, target = edge.attrib["from-layer"], edge.attrib["to-layer"]
            self.inputs[target, edge.attrib["to-port"]] = source
            self.readers.setdefault(source, []).append((target, edge.attrib["to-port"]))

    def kind(self, layer: str) -> str:
        return self.layers[layer].attrib["type"]

    def constant(self, layer: str) -> NDArray[np.float32] | None:
        """Read the values of a constant, also behind a conversion; None for another layer."""
        if self.kind(layer) == "Convert":
            layer = self.inputs[layer, "0"]
        data = self.layers[layer].find("data")
        if self.kind(layer) != "Const" or data is None:
            return None
        dtype = _IR_TYPES.get(data.attrib["element_type"])
        if dtype is None:
            return None
        shape = [int(side) for side in data.attrib["shape"].split(",") if side.strip()]
        offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
        values = np.frombuffer(self.weights[offset : offset + size], dtype)
        return values.reshape(shape).astype(np.float32)

    def bias(self, layer: str) -> NDArray[np.float32] | None:
        """Find the constant that is added behind a layer, if there is one."""
        for reader, port in self.readers.get(layer, ()):
            if self.kind(reader) == "Add":
                added = self.constant(self.inputs[reader, "1" if port == "0" else "0"])
                if added is not None:
                    return added
        return None


def ir_convolutions(path: Path) -> list[Weights]:
    """Read weight and bias of each convolution of an IR (.xml and .bin), in its order, in FP32.

    Raises ModelError if the file cannot be read or a convolution's weights are not constants.
    """
    graph = _IrGraph(path)
    found: list[Weights] = []
    for layer in graph.layers:
        if graph.kind(layer) not in ("Convolution", "GroupConvolution"):
            continue
        try:
            weight, bias = graph.constant(graph.inputs[layer, "1"]), graph.bias(layer)
        except (KeyError, ValueError) as error:
            raise ModelError(
                f"{path}: the weights of layer {layer} are not in the .bin."
            ) from error
        if weight is None:
            raise ModelError(f"{path}: convolution {layer} has no constant weights.")
        if graph.kind(layer) == "GroupConvolution":
            weight = weight.reshape(-1, *weight.shape[2:])  # groups and their outputs in one
        found.append(
            (torch.from_numpy(weight), None if bias is None else torch.from_numpy(bias.ravel()))
        )
    return found


def fill_convolutions(
    own: Sequence[nn.Conv2d], published: Sequence[Weights], path: str | PathLike[str], model: str
) -> None:
    """Copy published weights into ``own``, in order; own has a bias each.

    Raises ModelError, naming ``path`` and ``model``, if a shape differs or a bias is missing.
    """
    with torch.no_grad():
        for number, (convolution, (weight, bias)) in enumerate(zip(own, published, strict=True)):
            assert convolution.bias is not None
            own_shapes = convolution.weight.shape, convolution.bias.shape
            if bias is None or (weight.shape, bias.shape) != own_shapes:
                raise ModelError(
                    f"{path}: convolution {number} is {tuple(weight.shape)}, {model} has "
                    f"{tuple(convolution.weight.shape)} with a bias; give the file of {model}."
                )
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)
