"""Check that an engine gives what ONNX Runtime gives for the same file, on the sample image."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcr_rt.cuda_kernels import reference
from pcr_rt.engines import Engine
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import ModelError
from pcr_rt.geometry import box_iou
from pcr_rt.inference.boxes import detect, letterboxed
from pcr_rt.inference.pose_network import crop_people, crop_transforms, samples_to_frame
from pcr_rt.models import ModelSpec, Precision

__all__ = [
    "SAMPLE",
    "SURE_BOX",
    "SURE_KEYPOINT",
    "check_agreement",
    "keypoints_in_input",
    "person_crops",
]

SAMPLE = Path(str(files("pcr_rt"))) / "samples" / "street.jpg"
SURE_KEYPOINT, SURE_BOX = 0.3, 0.4
"""Keypoints above and boxes from these scores are compared; the rest is mostly noise."""

MOST_SHIFT_PX: dict[Precision, float] = {"fp32": 0.1, "fp16": 0.3, "int8": 2.0}
LEAST_IOU: dict[Precision, float] = {"fp32": 0.98, "fp16": 0.98, "int8": 0.9}
MOST_RELATIVE_ERROR: dict[Precision, float] = {"fp32": 0.01, "fp16": 0.05, "int8": 0.3}


def check_agreement(engine: Engine, expected: Engine, frame: NDArray[np.uint8]) -> str:
    """Say in words how much ``engine`` differs from ``expected`` on a frame with people.

    Keypoints that ``expected`` gives a score above 0.3 may shift by a median of 0.1 (FP32), 0.3
    (FP16) or 2 (INT8) input pixels; boxes must overlap by 0.98, INT8 by 0.9. If ``expected`` is
    sure of nothing, all outputs are compared by their relative error. Raises ModelError with what
    was found if the difference is larger.
    """
    precision = expected.spec.precision
    if expected.spec.is_detector:
        size = expected.spec.input_size  # both alike, though one may take others
        (boxes, _), (others, _) = (
            detect(e, [frame], SURE_BOX, size=size)[0] for e in (expected, engine)
        )
        if len(boxes):
            overlap = float(box_iou(boxes, others).max(1).min()) if len(others) else 0.0
            words = f"smallest overlap of boxes {overlap:.3f}"
            return _judge(words, overlap >= LEAST_IOU[precision], engine.spec)
        images, _ = letterboxed([frame], expected.spec)
        return _relative(engine.run(images), expected.run(images), engine.spec)
    images = person_crops(frame, expected.spec)
    outputs, wanted = engine.run(images), expected.run(images)
    found, _ = keypoints_in_input(outputs, expected.spec)
    places, scores = keypoints_in_input(wanted, expected.spec)
    sure = scores > SURE_KEYPOINT
    if not sure.any():
        return _relative(outputs, wanted, engine.spec)
    shift = float(np.median(np.linalg.norm(found - places, axis=2)[sure]))
    words = f"median shift of keypoints {shift:.3f} px"
    return _judge(words, shift <= MOST_SHIFT_PX[precision], engine.spec)


def person_crops(frame: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.float32]:
    """Crop the people that the shipped detector finds in a frame, as network input (N, 3, H, W)."""
    detector = OnnxRuntimeEngine("rtmdet-nano", device="cpu")
    try:
        boxes, _ = detect(detector, [frame], SURE_BOX)[0]
    finally:
        detector.close()
    index = np.zeros(len(boxes), dtype=np.intp)
    return crop_people([frame], index, crop_transforms(boxes, spec), spec)


def keypoints_in_input(
    outputs: list[NDArray[np.float32]], spec: ModelSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decode the keypoints (N, K, 2), in input pixels, and their scores (N, K)."""
    to_input = np.tile(np.eye(2, 3), (len(outputs[0]), 1, 1))
    if spec.kind == "simcc":
        return reference.decode_simcc(outputs[0], outputs[1], to_input, split=spec.split)
    grid = (outputs[0].shape[3], outputs[0].shape[2])
    to_input = samples_to_frame(to_input, spec, grid)
    return reference.decode_heatmaps(outputs[0], to_input, method=spec.decode, sigma=spec.sigma)


def _relative(
    outputs: list[NDArray[np.float32]], wanted: list[NDArray[np.float32]], spec: ModelSpec
) -> str:
    """The largest difference of an output, as a share of its largest value."""
    error = max(
        float(np.abs(a.astype(np.float64) - b).max() / max(float(np.abs(b).max()), 1e-9))
        for a, b in zip(outputs, wanted, strict=True)
    )
    return _judge(f"relative error {error:.2g}", error <= MOST_RELATIVE_ERROR[spec.precision], spec)


def _judge(words: str, right: bool, spec: ModelSpec) -> str:
    if not right:
        raise ModelError(
            f"The {spec.precision} engine of {spec.name!r} differs too much from ONNX Runtime on"
            f" the sample image: {words}."
        )
    return words
