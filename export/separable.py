"""Plain convolutions instead of separable ones, for GPUs.

A depthwise convolution and a pointwise one behind it, with nothing between them, are one plain
convolution, whose weights are the products of theirs. It takes more multiply-adds, in one layer
instead of two, and none of them depthwise, which leave a GPU's matrix units idle.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pcr_rt.errors import ModelError
from pcr_rt.export.compare import fp32_spec, write_if_alike
from pcr_rt.models import ModelSpec

__all__ = ["export_plain", "merge_separable"]

LEAST_PLACES = 100
"""Outputs of fewer pixels stay separable: merged weights would be read for too little work."""

MOST_SHIFT_PX, LEAST_IOU = 0.01, 0.999


def export_plain(source: Path, output: Path, name: str) -> tuple[ModelSpec, str]:
    """Write an FP32 model file with its separable convolutions merged, as the model ``name``.

    Returns its spec and in words what changed. Raises ModelError for a file that is not FP32, that
    has nothing to merge, or whose keypoints or boxes would move.
    """
    spec = dataclasses.replace(fp32_spec(source), name=name)
    model = onnx.load(source)
    merged = merge_separable(model)
    if merged == 0:
        raise ModelError(f"{source} has no separable convolutions that could be merged.")
    words = write_if_alike(
        model, spec, output, source, most_shift_px=MOST_SHIFT_PX, least_iou=LEAST_IOU
    )
    return spec, f"{merged} separable convolutions merged, {words}"


def merge_separable(model: Any) -> int:
    """Merge each depthwise convolution with the pointwise one that alone reads it; count them.

    If the output has fewer than 100 pixels they stay.
    """
    graph = model.graph
    constants = _constants(graph)
    places = _places(model)
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    depthwise = {
        node.output[0]: node
        for node in graph.node
        if _is_depthwise(node, constants) and readers[node.output[0]] == 1
    }
    merged = 0
    for node in list(graph.node):
        before = depthwise.get(node.input[0]) if _is_pointwise(node, constants) else None
        if before is None or places.get(node.output[0], 0) < LEAST_PLACES:
            continue
        weight, bias = _product(before, node, constants)
        weight_name, bias_name = f"{node.output[0]}_weight", f"{node.output[0]}_bias"
        graph.initializer.append(numpy_helper.from_array(weight, weight_name))
        graph.initializer.append(numpy_helper.from_array(bias, bias_name))
        node.input[:] = [before.input[0], weight_name, bias_name]
        del node.attribute[:]
        node.attribute.extend(a for a in before.attribute if a.name != "group")
        graph.node.remove(before)
        merged += 1
    return merged


def _constants(graph: Any) -> dict[str, NDArray[np.float32]]:
    found = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _places(model: Any) -> dict[str, int]:
    """Height x width of every map whose size is known."""
    values = onnx.shape_inference.infer_shapes(model).graph
    found = {}
    for value in (*values.value_info, *values.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4:
            found[value.name] = dims[2].dim_value * dims[3].dim_value
    return found


def _is_depthwise(node: Any, constants: dict[str, NDArray[np.float32]]) -> bool:
    if not _is_convolution(node, constants):
        return False
    channels = len(constants[node.input[1]])
    return bool(1 < channels == _attributes(node).get("group", 1))


def _is_pointwise(node: Any, constants: dict[str, NDArray[np.float32]]) -> bool:
    if not _is_convolution(node, constants) or constants[node.input[1]].shape[2:] != (1, 1):
        return False
    own = _attributes(node)
    group, strides, pads = own.get("group", 1), own.get("strides", [1]), own.get("pads", [0])
    return bool(group == max(strides) == 1 and max(pads) == 0)


def _is_convolution(node: Any, constants: dict[str, NDArray[np.float32]]) -> bool:
    return node.op_type == "Conv" and all(name in constants for name in node.input[1:])


def _attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _product(
    depthwise: Any, pointwise: Any, constants: dict[str, NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (O, I, h, w) and bias (O,) of both in a row."""
    first, second = constants[depthwise.input[1]], constants[pointwise.input[1]]
    bias = np.zeros(len(second), np.float32)
    if len(pointwise.input) > 2:
        bias = bias + constants[pointwise.input[2]]
    if len(depthwise.input) > 2:
        bias = bias + second[:, :, 0, 0] @ constants[depthwise.input[2]]
    return second * first[:, 0], bias
