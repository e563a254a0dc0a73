"""How far two files of one model differ in what counts: places of keypoints, overlap of boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.verification import SAMPLE, compare, differences

__all__ = ["SAMPLE", "agreement"]


def agreement(first: Path, second: Path, picture: Path = SAMPLE) -> tuple[str, float]:
    """Compare two files of one model on the people of a picture.

    Pose models: ("px", median shift in input pixels of the keypoints that ``first`` gives a score
    above 0.3). Detectors: ("IoU", the smallest overlap of a box of ``first`` with a score above 0.4
    and the box of ``second`` that fits it best). Raises InputError where nothing can be compared.
    """
    engines = [OnnxRuntimeEngine(path, device="cpu") for path in (first, second)]
    (found,) = compare(engines[0], engines[1], [picture])
    value = found.worst if found.unit == "IoU" else float(np.median(differences([found])))
    return found.unit, value
