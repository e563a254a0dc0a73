"""How far two files of one model differ in what counts: places of keypoints, overlap of boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import pcr_rt
from pcr_rt.detectors import Detector
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import ModelError
from pcr_rt.estimator import PoseEstimator
from pcr_rt.geometry import box_iou, box_to_region
from pcr_rt.media import read_image

__all__ = ["SAMPLE", "agreement"]

SAMPLE = Path(pcr_rt.__file__).parent / "samples" / "street.jpg"
SURE_KEYPOINT, SURE_BOX = 0.3, 0.4


def agreement(first: Path, second: Path, picture: Path = SAMPLE) -> tuple[str, float]:
    """Compare two files of one model on the people of a picture.

    Pose models: ("px", median shift in input pixels of the keypoints that ``first`` gives a score
    above 0.3). Detectors: ("IoU", the smallest overlap of a box of ``first`` with a score above 0.4
    and the box of ``second`` that fits it best). Raises ModelError where nothing can be compared.
    """
    frame = read_image(picture)
    engines = [OnnxRuntimeEngine(path, device="cpu") for path in (first, second)]
    if engines[0].spec.is_detector:
        (boxes, _), (others, _) = (Detector(e)([frame], SURE_BOX)[0] for e in engines)
        if not len(boxes):
            raise ModelError(f"{first} finds nobody in {picture}, so nothing can be compared.")
        overlaps = box_iou(boxes, others)
        return "IoU", float(overlaps.max(1).min()) if len(others) else 0.0
    boxes, _ = Detector()([frame], SURE_BOX)[0]
    one, other = (
        PoseEstimator(engine, detector=None, score_threshold=0, nms=None)(frame, boxes=boxes)
        for engine in engines
    )
    size = engines[0].spec.input_size
    _, region = box_to_region(boxes, size[0] / size[1], engines[0].spec.padding)
    shift = np.linalg.norm(
        (one.keypoints - other.keypoints) * size[1] / region[:, None, 1:], axis=2
    )
    sure = one.keypoint_scores > SURE_KEYPOINT
    if not sure.any():
        raise ModelError(f"{first} is sure of no keypoint in {picture}: nothing can be compared.")
    return "px", float(np.median(shift[sure]))
