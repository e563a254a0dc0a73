"""A foreign ONNX file as a model file: a free batch, and the ModelSpec that says how to read it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import ModelError
from pcr_rt.export.model_file import place, write_model
from pcr_rt.models import ModelSpec

__all__ = ["adopt_onnx"]


def adopt_onnx(source: Path, spec: ModelSpec, path: Path) -> None:
    """Write a foreign ONNX file with a free batch and ``spec`` embedded; weights stay as they are.

    If ``spec.input_size`` is not the file's, height and width become free as well, which networks
    of convolutions allow, but no SimCC head. Raises ModelError, and writes nothing, if the file
    cannot be read, does not run at the spec's size, or has outputs that contradict the spec.
    """
    try:
        model = onnx.load(source)
    except Exception as error:
        raise ModelError(f"The model file {source} cannot be read: {error}") from None
    shape = model.graph.input[0].type.tensor_type.shape.dim
    width, height = spec.input_size
    if len(shape) != 4:
        raise ModelError(f"{source} has an input of rank {len(shape)}; images are (N, 3, H, W).")
    other_size = [dim.dim_value for dim in shape][2:] != [height, width]
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param = "batch"
        if other_size and spec.kind != "simcc":
            _free_size(value, spec, is_input=value.name == model.graph.input[0].name)
    del model.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "adopted.onnx"
        write_model(model, spec, candidate)
        engine = OnnxRuntimeEngine(candidate, device="cpu")
        try:
            outputs = engine.run(np.zeros((2, 3, height, width), np.float32))
        except Exception as error:
            raise ModelError(
                f"{source} does not run on two images of {width}x{height} (w x h): give the size"
                f" of the file as input_size ({str(error).splitlines()[0]})."
            ) from None
        spec.check_outputs([output.shape for output in outputs])
        place(candidate.read_bytes(), path)


def _free_size(value: Any, spec: ModelSpec, *, is_input: bool) -> None:
    """Name height and width of an input (N, 3, H, W) or of an output's maps."""
    dims = value.type.tensor_type.shape.dim
    if not is_input and len(dims) != 4:  # lists of boxes: how many follows from the size
        for dim in list(dims)[1:-1]:
            dim.dim_param = f"{value.name}_count"
        return
    rows = 2 if is_input or spec.kind == "heatmap" else 1  # raw boxes are (N, h, w, 5)
    for axis, place_of in zip(("height", "width"), (rows, rows + 1), strict=True):
        dims[place_of].dim_param = axis if is_input else f"{value.name}_{axis}"
