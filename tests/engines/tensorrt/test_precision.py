"""What the inspector's words say; the records are cut from public dumps of several versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pcr_rt.engines.tensorrt.precision import check_precision, layer_types
from pcr_rt.errors import ModelError


def layer(words: str, key: str = "Format/Datatype", **more: Any) -> dict[str, Any]:
    return {
        "Name": "l",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", key: words}],
    } | more


def types_of(*layers: Any) -> dict[str, int]:
    return layer_types(json.dumps({"Layers": layers}))


OPEN = "N/A due to dynamic shapes"


@pytest.mark.parametrize(
    ("layers", "types"),
    [
        ([layer("Row major linear FP32")], {"FLOAT": 1}),
        ([layer("Channel major FP16 format where channel % 8 == 0")], {"HALF": 1}),
        ([layer("Half", "DataType")], {"HALF": 1}),
        ([layer("Thirty-two wide channel vectorized row major Int8 format")], {"INT8": 1}),
        # A reformat stands between two types and computes nothing.
        ([layer("Row major linear FP32", LayerType="Reformat"), layer("Half")], {"HALF": 1}),
        # If the inputs have no type, the weights' tells it.
        ([layer(OPEN, Weights={"Type": "Half", "Count": 864})] * 2, {"HALF": 2}),
        ([layer(OPEN, Weights={"Type": "Float", "Count": 864})], {"FLOAT": 1}),
        # One layer of constants says nothing of three others.
        ([layer(OPEN)] * 3 + [layer("Row major linear FP32")], {}),
        ([layer(OPEN), layer("Row major linear FP32")], {}),
        ([layer(OPEN)] + [layer("Row major linear FP32")] * 2, {"FLOAT": 2}),
        # With ProfilingVerbosity LAYER_NAMES_ONLY, layers are names.
        (["conv1", "conv2"], {}),
        ([], {}),
    ],
)
def test_types_of_layers(layers: list[Any], types: dict[str, int]) -> None:
    assert types_of(*layers) == types


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "Layers(0)"])
def test_what_is_no_table_has_no_types(text: str) -> None:
    assert layer_types(text) == {}


@pytest.mark.parametrize(
    ("asked", "types", "right"),
    [
        ("fp32", {"FLOAT": 3}, True),
        ("fp32", {"FLOAT": 3, "HALF": 1}, False),
        ("fp16", {"HALF": 3, "FLOAT": 2}, True),
        ("fp16", {"HALF": 2, "FLOAT": 2}, False),
        ("fp16", {"HALF": 2, "INT8": 1}, False),
        ("int8", {"INT8": 1, "HALF": 9}, True),
        ("int8", {"QUANTIZE": 1, "FLOAT": 9}, True),
        ("int8", {"HALF": 9}, False),
        ("fp16", {}, True),
    ],
)
def test_precision_is_judged(asked: str, types: dict[str, int], right: bool) -> None:
    if right:
        check_precision(asked, types, "The engine")
    else:
        with pytest.raises(ModelError, match=f"The engine is not {asked}"):
            check_precision(asked, types, "The engine")
