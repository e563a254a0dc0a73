"""The convolutions of an ONNX file; one of the readers behind `published_convolutions`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pcr_rt.errors import MissingDependencyError, ModelError

__all__ = ["onnx_convolutions"]


def onnx_convolutions(path: Path) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of each convolution of an ONNX file, in the order of its nodes, in FP32.

    Transposed convolutions are among them. Weights may be stored as FP16 behind a Cast, and a bias
    may stand in an Add of its own behind its convolution. Raises ModelError where a convolution's
    weights are not constants.
    """
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

    found: list[tuple[Tensor, Tensor | None]] = []
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        bias = node.input[2] if len(node.input) > 2 else added.get(node.output[0])
        if node.input[1] not in constants or (bias and bias not in constants):
            raise ModelError(f"{path}: convolution {node.name!r} has no constant weights.")
        found.append((tensor(node.input[1]), tensor(bias).flatten() if bias else None))
    return found
