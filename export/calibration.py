"""Make the inputs that INT8 ranges are taken from, of a folder of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.inference.agreement import SURE_BOX
from pcr_rt.inference.boxes import letterboxed
from pcr_rt.inference.detector import Detector
from pcr_rt.inference.pose_network import crop_people, crop_transforms
from pcr_rt.media import list_images, read_image
from pcr_rt.models import ModelSpec

__all__ = ["calibration_images"]

MOST = 64


def calibration_images(
    folder: Path, spec: ModelSpec, most: int = MOST, detector: Detector | None = None
) -> NDArray[np.float32]:
    """Make inputs (N, 3, H, W), N at most ``most``, of a model with ``spec``.

    For a detector these are whole images, for a pose model the surest person of each image. The
    images are drawn from the whole folder, the same ones each time. Raises InputError for a folder
    without images or people.
    """
    files = list_images(folder)
    parts: list[NDArray[np.float32]] = []
    order = np.random.default_rng(0).permutation(len(files))
    for file in (files[i] for i in order):
        if len(parts) == most:
            break
        frame = read_image(file)
        if spec.is_detector:
            parts.append(letterboxed([frame], spec)[0])
            continue
        detector = detector or Detector(device="cpu")
        boxes, _ = detector([frame], SURE_BOX)[0]
        if len(boxes):
            first = np.zeros(1, dtype=np.intp)
            parts.append(crop_people([frame], first, crop_transforms(boxes[:1], spec), spec))
    if not parts:
        raise InputError(f"No person is found in the images of {folder}: calibrate on others.")
    return np.concatenate(parts)
