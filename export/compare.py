"""How far two files of one model differ in what counts: places of keypoints, overlap of boxes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import ModelError
from pcr_rt.export.model_file import place, write_model
from pcr_rt.inference.verification import SAMPLE, compare, differences
from pcr_rt.models import ModelSpec

__all__ = ["SAMPLE", "agreement", "fp32_spec", "write_if_alike"]


def agreement(first: Path, second: Path, image: Path = SAMPLE) -> tuple[str, float]:
    """Compare two files of one model on the people of an image.

    Pose models: ("px", median shift in input pixels of the keypoints that ``first`` gives a score
    above 0.3). Detectors: ("IoU", the smallest overlap of a box of ``first`` with a score above 0.4
    and the box of ``second`` that fits it best). Raises InputError if nothing can be compared.
    """
    engines = [OnnxRuntimeEngine(path, device="cpu") for path in (first, second)]
    (found,) = compare(engines[0], engines[1], [image])
    value = found.worst if found.unit == "IoU" else float(np.median(differences([found])))
    return found.unit, value


def fp32_spec(source: Path) -> ModelSpec:
    """Read the spec of a model file to be converted. Raises ModelError unless it is FP32."""
    spec = OnnxRuntimeEngine(source, device="cpu").spec
    if spec.precision != "fp32":
        raise ModelError(f"{source} is {spec.precision} already: give the FP32 file.")
    return spec


def write_if_alike(
    model: Any,
    spec: ModelSpec,
    output: Path,
    source: Path,
    *,
    most_shift_px: float,
    least_iou: float,
) -> str:
    """Write ``model``, another form of the file ``source``; return in words how well they agree.

    Raises ModelError, and writes nothing, if `agreement` on the sample image is a shift above
    the one bound or an overlap below the other.
    """
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "candidate.onnx"
        write_model(model, spec, candidate)
        unit, value = agreement(source, candidate)
        if value < least_iou if unit == "IoU" else value > most_shift_px:
            raise ModelError(
                f"{source} loses too much in this form ({value:.3f} {unit} on the sample image):"
                " keep it as it is."
            )
        place(candidate.read_bytes(), output)
    return f"smallest overlap of boxes {value:.3f}" if unit == "IoU" else f"shift {value:.3f} px"
