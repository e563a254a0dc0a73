"""In which types a network and an engine compute, and whether that is what was asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from pcr_rt.errors import ModelError

__all__ = ["check_precision", "engine_types", "hold_fp32_layers", "network_types"]

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
"""Words that the inspector uses for types, in small letters."""


def network_types(network: Any) -> dict[str, int]:
    """How many layers of a parsed network compute in FLOAT or HALF, and its QUANTIZE layers."""
    counts: Counter[str] = Counter()
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        kind = layer.type.name
        if kind in MATHS:
            counts[layer.get_input(0).dtype.name] += 1
        elif kind in QUANTISERS:
            counts[kind] += 1
    return dict(counts)


def engine_types(trt: Any, engine: Any) -> dict[str, int]:
    """How many layers of a built engine take FLOAT, HALF or INT8, read from its inspector.

    Empty where the inspector tells no types, as on TensorRT-RTX.
    """
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        layers = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return {}
    counts: Counter[str] = Counter()
    for record in layers:
        if isinstance(record, dict):
            types = {_type_of(entry) for entry in record.get("Inputs", [])} - {""}
            # Reformats stand between types; of what computes, the lowest type counts.
            lowest = next((name for name in ("INT8", "HALF", "FLOAT") if name in types), None)
            if lowest and "reformat" not in str(record.get("LayerType", "")).lower():
                counts[lowest] += 1
    return dict(counts)


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
    """Raise ModelError where a network or an engine computes in something else than ``asked``.

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
    """Hold the layers that the ONNX file types FP32 to FP32 (TensorRT 8.6); returns their number.

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
