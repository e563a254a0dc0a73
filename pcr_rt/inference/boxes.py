"""Bounding boxes: those that a detector model finds, and those that a caller gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.cuda_kernels import reference
from pcr_rt.engines import Engine
from pcr_rt.errors import InputError
from pcr_rt.frames import check_on_host, frame_size
from pcr_rt.geometry import Size
from pcr_rt.inference.inputs import rows_of
from pcr_rt.models import ModelSpec

__all__ = [
    "IOU_THRESHOLD",
    "MAX_BOXES",
    "Boxes",
    "as_boxes",
    "detect",
    "fitting_size",
    "large_enough",
    "letterboxed",
]

Boxes = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Boxes (N, 4) xyxy in frame pixels, scores (N,)."""

IOU_THRESHOLD = 0.55
MAX_BOXES = 100
STRIDE = 32
MAX_COORDINATE = 1e7
SCORE_SLACK = 1e-4
"""By which rounding may carry a score over 1."""


def detect(
    engine: Engine,
    frames: Sequence[NDArray[np.uint8]],
    score_threshold: float,
    class_index: int | None = None,
    size: Size | None = None,
) -> list[Boxes]:
    """Find the people of each frame with an engine whose spec has kind ``boxes``.

    frames: (H, W, 3) uint8 BGR each, of any sizes. class_index: what is looked for; None: what the
    spec says. size: (w, h) of the input; None: the spec's or, if the model and the engine take any
    aspect, what is left of it without rows and columns that would be grey. Returns boxes and scores
    of each frame, best first, at most 100 a frame. Raises InputError for a frame on a CUDA device.
    """
    if not frames:
        return []
    for frame in frames:
        check_on_host(frame)
    spec = engine.spec
    if size is None:
        by_aspect = spec.any_aspect and getattr(engine, "open_sides", False)
        size = fitting_size(frames, spec.input_size) if by_aspect else spec.input_size
    images, scales = letterboxed(frames, spec, size)
    sizes = np.array([(frame.shape[1], frame.shape[0]) for frame in frames])
    candidates = reference.decode_boxes(
        engine.run(images),
        spec.layout,
        scales,
        sizes,
        input_size=size,
        score_threshold=score_threshold,
        class_index=spec.class_index if class_index is None else class_index,
    )
    found: list[Boxes] = []
    for raw_boxes, raw_scores in candidates:
        boxes, scores = raw_boxes.astype(np.float64), raw_scores.astype(np.float64)
        keep = reference.box_nms(boxes, scores, IOU_THRESHOLD, MAX_BOXES)
        found.append(large_enough(boxes, scores, keep))
    return found


def fitting_size(frames: Sequence[Any], size: Size) -> Size:
    """Give the smallest input (w, h) in which all frames are as large as in one of ``size``.

    Sides are multiples of the detector's coarsest stride: a frame of 16:9 gets 416x256 in place of
    416x416, whose other rows would be grey.
    """
    width = height = 1
    for frame in frames:
        w, h = frame_size(frame)
        scale = min(size[0] / w, size[1] / h)
        width, height = max(width, round(w * scale)), max(height, round(h * scale))
    width, height = (-(-side // STRIDE) * STRIDE for side in (width, height))
    return min(width, size[0]), min(height, size[1])


def letterboxed(
    frames: Sequence[Any], spec: ModelSpec, size: Size | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Make a detector's inputs (B, 3, H, W) of whole frames, and give the scale (B,) of each.

    size: (W, H); None: the spec's.
    """
    return reference.letterbox(
        frames,
        size or spec.input_size,
        spec.mean,
        spec.std,
        fill=spec.fill,
        rgb=spec.colour == "rgb",
    )


def large_enough(
    boxes: NDArray[Any], scores: NDArray[Any], keep: NDArray[np.integer[Any]]
) -> Boxes:
    """Choose the boxes (N, 4) and scores (N,) of ``keep`` that are larger than a pixel."""
    boxes, scores = boxes[keep].astype(np.float64), scores[keep].astype(np.float64)
    large = [x2 - x1 > 1 and y2 - y1 > 1 for x1, y1, x2, y2 in boxes.tolist()]
    return (boxes, scores) if all(large) else (boxes[large], scores[large])


def as_boxes(boxes: ArrayLike, size: tuple[int, int]) -> Boxes:
    """Check what a caller gave as boxes, and leave out those outside the frame.

    boxes: (N, 4) xyxy in frame pixels, or (N, 5) with a score of 0 to 1, or
    ``supervision.Detections``; size: the frame's (width, height). Boxes that lie wholly outside the
    frame are dropped; others are kept as they are, since a crop may reach over the border. Raises
    InputError for other shapes, for NaN or values that are no pixels, for other scores and for
    boxes without area.
    """
    try:
        rows = np.asarray(rows_of(boxes), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            "boxes must be numbers of shape (N, 4) xyxy or (N, 5) with a score."
        ) from None
    if rows.size == 0:
        rows = rows.reshape(0, 5)
    if rows.ndim != 2 or rows.shape[1] not in (4, 5):
        raise InputError(
            f"boxes have shape {rows.shape}; give (N, 4) xyxy, or (N, 5) with a score each."
        )
    # In Python, since NumPy takes longer for the few boxes of a frame. NaN fails every comparison.
    (width, height), most, inside = size, MAX_COORDINATE, []
    for x1, y1, x2, y2, *score in rows.tolist():
        if not (-most <= x1 < x2 <= most and -most <= y1 < y2 <= most):
            raise _wrong(rows)
        if score and not 0 <= score[0] <= 1 + SCORE_SLACK:
            raise _wrong(rows)
        inside.append(x2 > 0 and y2 > 0 and x1 < width and y1 < height)
    if not all(inside):
        rows = rows[inside]
    scores = np.minimum(rows[:, 4], 1) if rows.shape[1] == 5 else np.ones(len(rows))
    return rows[:, :4], scores


def _wrong(rows: NDArray[np.float64]) -> InputError:
    """Say what is wrong with the boxes (N, 4) or (N, 5)."""
    if not np.isfinite(rows).all():
        return InputError("boxes hold NaN or infinite values: remove those rows.")
    if (np.abs(rows[:, :4]) > MAX_COORDINATE).any():
        return InputError("boxes reach further than any image: give pixels of the frame.")
    empty = (rows[:, 2] <= rows[:, 0]) | (rows[:, 3] <= rows[:, 1])
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        return InputError(
            f"Box {row} is {rows[row, :4].tolist()}, without area: give x1, y1, x2, y2 with x2 > x1"
            " and y2 > y1."
        )
    scores = rows[:, 4]
    return InputError(f"boxes have scores from {scores.min():g} to {scores.max():g}: give 0 to 1.")
