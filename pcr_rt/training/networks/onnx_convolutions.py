"""The convolutions of somebody else's model file, to fill an encoder of our own with."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from pcr_rt.errors import MissingDependencyError, ModelError
from pcr_rt.training.networks.openvino_convolutions import ir_convolutions

__all__ = ["fill_convolutions", "published_convolutions"]

Weights = tuple[Tensor, Tensor | None]
"""Weight and bias of a convolution."""


def published_convolutions(path: str | PathLike[str]) -> list[Weights]:
    """Weight and bias of each convolution of an ONNX file, in the order of its nodes, in FP32.

    Weights may be stored as FP16 behind a Cast, and a bias may stand in an Add of its own behind
    its convolution. An .xml is an OpenVINO IR. Raises ModelError where a convolution's weights are
    not constants.
    """
    if Path(path).suffix == ".xml":
        return ir_convolutions(path)
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingDependencyError(
            "Reading an ONNX file's weights needs onnx: pip install 'pcr-rt[train]'."
        ) from error
    try:
        graph = onnx.load(path).graph
    except Exception as error:
        raise ModelError(f"{path} is not a readable ONNX file; give the published one.") from error
    constants = {tensor.name: tensor for tensor in graph.initializer}
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
        if node.op_type != "Conv":
            continue
        bias = node.input[2] if len(node.input) > 2 else added.get(node.output[0])
        if node.input[1] not in constants or (bias and bias not in constants):
            raise ModelError(f"{path}: convolution {node.name!r} has no constant weights.")
        found.append((tensor(node.input[1]), tensor(bias).flatten() if bias else None))
    return found


def fill_convolutions(
    own: Sequence[nn.Conv2d], published: Sequence[Weights], path: str | PathLike[str], model: str
) -> None:
    """Copy published weights into ``own``, in order; own has a bias each.

    Raises ModelError, naming ``path`` and ``model``, where a shape differs or a bias is missing.
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
