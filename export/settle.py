"""Shapes that depend on the batch alone, settled before the model runs."""

from __future__ import annotations

from typing import Any

import onnxsim
from onnx import numpy_helper

from pcr_rt.errors import ModelError

__all__ = ["settle_shapes"]

_BATCH = 2


def settle_shapes(model: Any) -> Any:
    """A model with a free batch and a fixed input size, without the nodes that compute shapes.

    Meanwhile the batch is 2; a Reshape to two samples then is one to as many as there are. Raises
    ModelError where onnxsim finds that the result differs.
    """
    sizes = {}
    for value in model.graph.input:
        _, *rest = (dim.dim_value for dim in value.type.tensor_type.shape.dim)
        sizes[value.name] = [_BATCH, *rest]
    settled, valid = onnxsim.simplify(model, overwrite_input_shapes=sizes)
    if not valid:
        raise ModelError("The model with settled shapes does not compute what it did.")
    for value in (*settled.graph.input, *settled.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del settled.graph.value_info[:]
    shapes = {node.input[1] for node in settled.graph.node if node.op_type == "Reshape"}
    for constant in settled.graph.initializer:
        if constant.name in shapes:
            shape = numpy_helper.to_array(constant).copy()
            if shape[0] == _BATCH:
                shape[0] = 0  # as in the input
                constant.CopyFrom(numpy_helper.from_array(shape, constant.name))
    return settled
