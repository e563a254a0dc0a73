"""What a model will see, from a folder of pictures: the inputs that INT8 ranges are taken from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcr_rt.cuda_kernels import reference
from pcr_rt.errors import InputError
from pcr_rt.geometry import box_to_region, crop_transform
from pcr_rt.inference.detector import Detector
from pcr_rt.media import list_images, read_image
from pcr_rt.models import ModelSpec

__all__ = ["calibration_images"]

MOST, SURE_BOX = 64, 0.4


def calibration_images(
    folder: Path, spec: ModelSpec, most: int = MOST, detector: Detector | None = None
) -> NDArray[np.float32]:
    """Inputs (N, 3, H, W), N at most ``most``, of a model with ``spec``.

    For a detector whole pictures, for a pose model the surest person of each picture, from pictures
    drawn from the whole folder, the same ones each time. Raises InputError for a folder without
    pictures or people.
    """
    files = list_images(folder)
    parts: list[NDArray[np.float32]] = []
    order = np.random.default_rng(0).permutation(len(files))
    for file in (files[i] for i in order):
        if len(parts) == most:
            break
        frame = read_image(file)
        rgb = spec.colour == "rgb"
        if spec.is_detector:
            images, _ = reference.letterbox(
                [frame], spec.input_size, spec.mean, spec.std, fill=spec.fill, rgb=rgb
            )
            parts.append(images)
            continue
        detector = detector or Detector(device="cpu")
        boxes, _ = detector([frame], SURE_BOX)[0]
        if len(boxes):
            size = spec.input_size
            centre, region = box_to_region(boxes[:1], size[0] / size[1], spec.padding)
            crop = crop_transform(centre, region, size, spec.transform)
            first = np.zeros(1, dtype=np.intp)
            parts.append(
                reference.crop_persons([frame], first, crop, size, spec.mean, spec.std, rgb=rgb)
            )
    if not parts:
        raise InputError(f"No person is found in the pictures of {folder}: calibrate on others.")
    return np.concatenate(parts)
