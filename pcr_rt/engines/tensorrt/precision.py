"""The types that a network and an engine compute in, and whether they are those asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from pcr_rt.errors import ModelError

__all__ = ["check_precision", "engine_types", "hold_fp32_layers", "layer_types", "network_types"]

MATHS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
"""Layers of a network whose type is its precision."""
QUANTISERS = ("QUANTIZE", "DEQUANTIZE")

TYPE_NAMES = {
    "fp32": "FLOAT",
    "float": "FLOAT",
    "float32": "FLOAT",
    "fp16": "HALF",
    "half": "HALF",
    "float16": "HALF",
    "int8": "INT8",
}
"""The inspector's words for types, in lower case."""


def network_types(network: Any) -> dict[str, int]:
    """Count the layers of a parsed network that compute in FLOAT or HALF, and its quantisers."""
    counts: Counter[str] = Counter()
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        kind = layer.type.name
        if kind in MATHS:
            counts[layer.get_input(0).dtype.name] += 1
        elif kind in QUANTISERS:
            counts[kind] += 1
    return dict(counts)


def engine_types(trt: Any, engine: Any, context: Any) -> dict[str, int]:
    """Count the layers of a built engine that take FLOAT, HALF or INT8, as its inspector tells.

    context: one of the engine with a shape; without it the inspector has no types. Empty if most
    layers are without a type, as on TensorRT-RTX: the few that have one say nothing of the others.
    """
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return layer_types(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def layer_types(text: str) -> dict[str, int]:
    """Count the types in an inspector's JSON; see `engine_types`."""
    try:
        layers = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return {}
    counts: Counter[str] = Counter()
    untyped = 0
    for record in layers:
        # Reformats stand between types, they do not compute.
        if isinstance(record, dict) and "reformat" not in str(record.get("LayerType", "")).lower():
            types = {_type_of(entry) for entry in record.get("Inputs", [])} - {""}
            types = types or {_type_of({"Datatype": _weights(record).get("Type")})} - {""}
            # Of what a layer takes, the lowest type is the one that it computes in.
            lowest = next((name for name in ("INT8", "HALF", "FLOAT") if name in types), None)
            if lowest:
                counts[lowest] += 1
            else:
                untyped += 1
    return dict(counts) if counts.total() > untyped else {}


def _weights(record: dict[str, Any]) -> dict[str, Any]:
    weights = record.get("Weights")
    return weights if isinstance(weights, dict) else {}


def _type_of(entry: Any) -> str:
    """FLOAT, HALF or INT8, from the inspector's words for a tensor, which differ by version."""
    if isinstance(entry, dict):
        for key, words in entry.items():
            if "datatype" in key.replace(" ", "").lower():
                for word in re.findall(r"\w+", str(words).lower()):
                    if word in TYPE_NAMES:
                        return TYPE_NAMES[word]
    return ""


def check_precision(asked: str, types: dict[str, int], what: str) -> None:
    """Raise ModelError if a network or an engine computes in something else than ``asked``.

    FP16 may keep the smaller part of its layers in FP32; INT8 needs quantised layers.
    """
    if not types:
        return
    half, full = types.get("HALF", 0), types.get("FLOAT", 0)
    quantised = types.get("INT8", 0) + types.get("QUANTIZE", 0)
    right = {
        "fp32": not half and not quantised,
        "fp16": half > full and not quantised,
        "int8": quantised > 0,
    }[asked]
    if not right:
        found = ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
        raise ModelError(
            f"{what} is not {asked}, though its spec says so: its layers are {found}. Export it"
            f" again with 'pcr-rt export --precision {asked}'."
        )


def hold_fp32_layers(trt: Any, network: Any) -> int:
    """Keep the layers that are FP32 in the ONNX file in FP32 (TensorRT 8.6); returns their number.

    With the FP16 flag a weakly typed network may compute any layer in FP16.
    """
    held = 0
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        if layer.type.name in ("CONSTANT", "SHAPE", "CAST", "IDENTITY", *QUANTISERS):
            continue
        tensors = [layer.get_input(k) for k in range(layer.num_inputs)]
        tensors += [layer.get_output(k) for k in range(layer.num_outputs)]
        types = {tensor.dtype.name for tensor in tensors if tensor is not None}
        if "FLOAT" in types and "HALF" not in types:
            layer.precision = trt.DataType.FLOAT
            held += 1
    return held
