"""FP16 in the model file itself, which every engine reads the same way."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from pathlib import Path

import onnx

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import ModelError
from pcr_rt.export.compare import agreement
from pcr_rt.export.onnx_export import place, write_model
from pcr_rt.models import ModelSpec

__all__ = ["export_fp16"]

MOST_SHIFT_PX, LEAST_IOU = 0.3, 0.98


def export_fp16(source: Path, output: Path) -> tuple[ModelSpec, str]:
    """Write an FP32 model file with FP16 weights and arithmetic; inputs and outputs stay FP32.

    Returns its spec and in words how well it agrees with ``source`` on the sample picture. Raises
    ModelError for a file that is not FP32, and where keypoints shift by a median of more than 0.3
    input pixels or a box overlaps its own by less than 0.98; then nothing is written.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    spec = OnnxRuntimeEngine(source, device="cpu").spec
    if spec.precision != "fp32":
        raise ModelError(f"{source} is {spec.precision} already: give the FP32 file.")
    with warnings.catch_warnings():
        # Each weight too small for FP16 is reported; the comparison below says what it does.
        warnings.simplefilter("ignore")
        model = convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=[])
    half = OnnxModel(model)
    half.topological_sort()
    del half.model.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "fp16.onnx"
        write_model(half.model, dataclasses.replace(spec, precision="fp16"), candidate)
        unit, value = agreement(source, candidate)
        if value < LEAST_IOU if unit == "IoU" else value > MOST_SHIFT_PX:
            raise ModelError(
                f"{source} loses too much in FP16 ({value:.2f} {unit} on the sample picture): keep"
                " FP32."
            )
        place(candidate.read_bytes(), output)
    words = f"smallest overlap of boxes {value:.3f}" if unit == "IoU" else f"shift {value:.3f} px"
    return dataclasses.replace(spec, precision="fp16"), words
