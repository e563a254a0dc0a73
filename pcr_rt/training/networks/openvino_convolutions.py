"""The convolutions of an OpenVINO IR; one of the readers behind `published_convolutions`."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcr_rt.errors import ModelError

__all__ = ["ir_convolutions"]

_TYPES = {"f32": np.float32, "f16": np.float16}


class _Graph:
    """Layers by their id, in the order of the file, and what feeds and reads each."""

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
        """The values of a constant, also behind a conversion; None for another layer."""
        if self.kind(layer) == "Convert":
            layer = self.inputs[layer, "0"]
        data = self.layers[layer].find("data")
        if self.kind(layer) != "Const" or data is None:
            return None
        dtype = _TYPES.get(data.attrib["element_type"])
        if dtype is None:
            return None
        shape = [int(side) for side in data.attrib["shape"].split(",") if side.strip()]
        offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
        values = np.frombuffer(self.weights[offset : offset + size], dtype)
        return values.reshape(shape).astype(np.float32)

    def bias(self, layer: str) -> NDArray[np.float32] | None:
        """The constant that is added behind a layer, if there is one."""
        for reader, port in self.readers.get(layer, ()):
            if self.kind(reader) == "Add":
                added = self.constant(self.inputs[reader, "1" if port == "0" else "0"])
                if added is not None:
                    return added
        return None


def ir_convolutions(path: Path) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of each convolution of an IR (.xml with its .bin), in the file's order, FP32.

    Raises ModelError where the file cannot be read or a convolution's weights are not constants.
    """
    graph = _Graph(path)
    found: list[tuple[Tensor, Tensor | None]] = []
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
