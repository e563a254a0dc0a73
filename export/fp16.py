"""FP16 in the model file itself, which every engine reads the same way."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import onnx

from pcr_rt.export.compare import fp32_spec, write_if_alike
from pcr_rt.models import ModelSpec

__all__ = ["export_fp16"]

MOST_SHIFT_PX, LEAST_IOU = 0.3, 0.98


def export_fp16(source: Path, output: Path) -> tuple[ModelSpec, str]:
    """Write an FP32 model file with FP16 weights and arithmetic; inputs and outputs stay FP32.

    Returns its spec and in words how well it agrees with ``source`` on the sample image. Raises
    ModelError for a file that is not FP32, and if keypoints shift by a median of more than 0.3
    input pixels or a box overlaps its own by less than 0.98; then nothing is written.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    spec = dataclasses.replace(fp32_spec(source), precision="fp16")
    with warnings.catch_warnings():
        # Each weight too small for FP16 is reported; the comparison below says what it does.
        warnings.simplefilter("ignore")
        model = convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=[])
    half = OnnxModel(model)
    half.topological_sort()
    del half.model.graph.value_info[:]
    words = write_if_alike(
        half.model, spec, output, source, most_shift_px=MOST_SHIFT_PX, least_iou=LEAST_IOU
    )
    return spec, words
