"""Detectors that find the same people if the grey of a letterboxed frame is left out.

A network that weighs its channels by means over the whole input has learnt these with the grey that
makes the input a square. In the file written here each such mean counts the grey that is not there:
mean x share + grey x (1 - share), where share is the input's share of the square, 1 for a square.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pcr_rt.errors import ModelError
from pcr_rt.export.compare import fp32_spec, write_if_alike
from pcr_rt.models import ModelSpec

__all__ = ["export_any_aspect"]

SHARE = 9 / 16
LEAST_IOU = 0.98


def export_any_aspect(
    source: Path, output: Path, images: NDArray[np.float32]
) -> tuple[ModelSpec, str]:
    """Write an FP32 detector whose input takes the frame's aspect, as its spec says then.

    images: (N, 3, S, S) letterboxed, some dozens of what it will see; their lower 7/16 are made
    grey, and what the network's means are over there is the grey that shall count. Returns the spec
    and in words what changed. Raises ModelError for a file that is not FP32, no
    detector of a free square size, or without such means.
    """
    spec, model = fp32_spec(source), onnx.load(source)
    sides = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]]
    if not spec.is_detector or any(sides) or spec.input_size[0] != spec.input_size[1]:
        raise ModelError(f"{source} is no detector of a square input with open height and width.")
    means = [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]
    if not means or spec.any_aspect:
        raise ModelError(f"{source} has no means over its input that could count the grey.")
    grey = _grey(model, [node.input[0] for node in means], images, spec)
    _count(model.graph, means, grey)
    spec = dataclasses.replace(spec, any_aspect=True)
    words = write_if_alike(model, spec, output, source, most_shift_px=0, least_iou=LEAST_IOU)
    return spec, f"{len(means)} means count the grey that is left out, {words}"


def _grey(
    model: Any, names: list[str], images: NDArray[np.float32], spec: ModelSpec
) -> list[NDArray[np.float32]]:
    """The mean (1, C, 1, 1) of each tensor over the grey part of the images."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    level = (spec.fill - np.array(spec.mean)) / np.array(spec.std)
    found: list[list[NDArray[Any]]] = [[] for _ in names]
    for image in images:
        image = image[None].copy()
        image[:, :, round(SHARE * image.shape[2]) :] = level[:, None, None]
        for means, maps in zip(
            found, session.run(names, {model.graph.input[0].name: image}), strict=True
        ):
            first = -int(-SHARE * maps.shape[2] // 1)
            means.append(maps[:, :, first:].mean(axis=(0, 2, 3)))
    return [np.stack(m).mean(axis=0, dtype=np.float32).reshape(1, -1, 1, 1) for m in found]


def _count(graph: Any, means: list[Any], grey: list[NDArray[np.float32]]) -> None:
    """Put the formula of this module behind each mean."""

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(op, inputs, [output], name=f"aspect/{output}", **attributes)

    constants: dict[str, NDArray[Any]] = {
        "aspect.height": np.array(2, np.int64),
        "aspect.width": np.array(3, np.int64),
        "aspect.whole": np.array(1, np.float32),
    }
    nodes = [add("Shape", [graph.input[0].name], "aspect.shape")]
    for side in ("height", "width"):
        nodes.append(add("Gather", ["aspect.shape", f"aspect.{side}"], f"aspect.{side}.whole"))
        cast = add("Cast", [f"aspect.{side}.whole"], f"aspect.{side}.size", to=TensorProto.FLOAT)
        nodes.append(cast)
    both = ["aspect.height.size", "aspect.width.size"]
    nodes += [
        add("Min", both, "aspect.short"),
        add("Max", both, "aspect.long"),
        add("Div", ["aspect.short", "aspect.long"], "aspect.share"),
        add("Sub", ["aspect.whole", "aspect.share"], "aspect.rest"),
    ]
    for node in graph.node:
        nodes.append(node)
        if node not in means:
            continue
        name, values = node.output[0], grey[means.index(node)]
        constants[f"{name}.grey"] = values
        node.output[0] = f"{name}.inside"
        nodes += [
            add("Mul", [f"{name}.inside", "aspect.share"], f"{name}.of_inside"),
            add("Mul", [f"{name}.grey", "aspect.rest"], f"{name}.of_grey"),
            add("Add", [f"{name}.of_inside", f"{name}.of_grey"], name),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
