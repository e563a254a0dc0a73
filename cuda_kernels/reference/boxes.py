"""Decode a detector's outputs to boxes in frame pixels, and suppress them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import ModelError
from pcr_rt.geometry import Size, box_iou, clip_boxes

__all__ = ["box_nms", "decode_boxes", "yolox_is_decoded"]

Float32 = NDArray[np.float32]

YOLOX_STRIDES = (8, 16, 32)
MOST_LOG = 20
MOST_SCORE = 1.01


def decode_boxes(
    outputs: Sequence[NDArray[Any]],
    layout: str,
    scales: NDArray[np.float64],
    frame_sizes: NDArray[np.intp],
    *,
    input_size: Size,
    score_threshold: float,
    class_index: int = 0,
    max_candidates: int = 1000,
) -> list[tuple[Float32, Float32]]:
    """Decode each frame's candidates: boxes (n, 4) xyxy in frame pixels and scores (n,), float32.

    outputs: the network's, float16 or float32, for a batch of B letterboxed frames; layout: a key
    of ``pcr_rt.layouts.LAYOUTS``:

    - ``rtmdet``: maps (B, h, w, 5), one a stride: person logit and the distances left, top, right
      and bottom in input pixels from the point (column * stride, row * stride);
    - ``yolox``: (B, n, 5 + classes), the official export: centre and log size in grid units,
      objectness, class scores; told by their values, decoded ones: centre and size in input pixels;
    - ``dets``: (B, n, 5), xyxy and score in input pixels, suppressed already; optionally labels
      (B, n);
    - ``yolov8``: (B, 4 + classes, n) or its transpose, centre and size in input pixels and class
      scores; or (B, n, 6), xyxy, score and label, suppressed already.

    class_index: the class whose boxes are wanted; COCO's first is the person. Raises ModelError if
    there is no such class.

    scales: (B,) as :func:`letterbox` gives them; frame_sizes: (B, 2) as (width, height).

    Boxes are cut at the frame's borders. They come in descending order of score (equal scores in
    the network's order), at most ``max_candidates`` of those that score ``score_threshold`` or
    more; what has no area inside the frame or is not finite is left out.
    """
    arrays = [np.asarray(output) for output in outputs]
    boxes, scores = _DECODERS[layout](arrays, input_size, class_index)
    people = []
    for b, (scale, (width, height)) in enumerate(zip(scales, frame_sizes, strict=True)):
        candidates = np.flatnonzero(scores[b] >= score_threshold)
        xyxy = clip_boxes(boxes[b, candidates] / scale, width, height).astype(np.float32)
        score = scores[b, candidates]
        # A comparison with NaN is false.
        usable = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1]) & np.isfinite(score)
        order = np.flatnonzero(usable)
        order = order[np.argsort(-score[order], kind="stable")][:max_candidates]
        people.append((xyxy[order], score[order]))
    return people


def _decode_rtmdet(
    outputs: list[NDArray[Any]], input_size: Size, class_index: int
) -> tuple[Float32, Float32]:
    _check_class(class_index, 1)
    boxes, scores = [], []
    for output in outputs:
        maps = output.astype(np.float32, copy=False)
        batch, rows, columns, _ = maps.shape
        x = np.arange(columns, dtype=np.float32) * (input_size[0] / columns)
        y = np.arange(rows, dtype=np.float32)[:, None] * (input_size[1] / rows)
        logit, left, top, right, bottom = np.moveaxis(maps, -1, 0)
        corners = np.stack([x - left, y - top, x + right, y + bottom], axis=-1)
        boxes.append(corners.reshape(batch, -1, 4))
        # The logistic function in a form that cannot overflow.
        scores.append((0.5 + 0.5 * np.tanh(logit / 2)).reshape(batch, -1))
    return np.concatenate(boxes, axis=1, dtype=np.float32), np.concatenate(scores, axis=1)


def _decode_yolox(
    outputs: list[NDArray[Any]], input_size: Size, class_index: int
) -> tuple[Float32, Float32]:
    _check_class(class_index, outputs[0].shape[2] - 5)
    rows = outputs[0][..., [0, 1, 2, 3, 4, 5 + class_index]].astype(np.float32)
    scores = rows[..., 4] * rows[..., 5]
    points, strides = [], []
    for stride in YOLOX_STRIDES:
        y, x = np.indices((input_size[1] // stride, input_size[0] // stride), dtype=np.float32)
        points.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((x.size, 1), stride, dtype=np.float32))
    grid, step = np.concatenate(points), np.concatenate(strides)
    if rows.shape[1] != len(grid):
        raise ModelError(
            f"The detector gives {rows.shape[1]} boxes where YOLOX gives {len(grid)} at "
            f"{input_size[0]}x{input_size[1]}; use the official export without its NMS."
        )
    if yolox_is_decoded(rows):
        return _corners(rows[..., :4]), scores
    centre = (rows[..., :2] + grid) * step
    # exp(20) input pixels is beyond every frame; half precision may hold more than exp can take.
    half = np.exp(rows[..., 2:4].clip(max=MOST_LOG)) * (step / 2)
    boxes = np.concatenate([centre - half, centre + half], axis=-1)
    return boxes, scores


def yolox_is_decoded(rows: NDArray[Any]) -> bool:
    """Tell whether YOLOX's outputs (B, n, 5 + classes) have boxes in input pixels.

    Others are offsets and logarithms in grid units, none of which is near MOST_LOG.
    """
    boxes = np.asarray(rows[..., :4], dtype=np.float32)
    return bool(boxes[..., 2:].min() >= 0 and boxes.max(axis=(0, 1)).min() > MOST_LOG)


def _decode_dets(outputs: list[NDArray[Any]], _: Size, class_index: int) -> tuple[Float32, Float32]:
    dets = outputs[0].astype(np.float32, copy=False)
    scores = dets[..., 4]
    if len(outputs) > 1:
        scores = np.where(outputs[1] == class_index, scores, np.float32(-np.inf))
    else:
        _check_class(class_index, 1)
    return dets[..., :4], scores


def _decode_yolov8(
    outputs: list[NDArray[Any]], _: Size, class_index: int
) -> tuple[Float32, Float32]:
    rows = outputs[0].astype(np.float32, copy=False)
    if rows.shape[2] == 6 and rows.shape[1] != 6:  # suppressed already
        wanted = rows[..., 5] == class_index
        return rows[..., :4], np.where(wanted, rows[..., 4], np.float32(-np.inf))
    if rows.shape[1] < rows.shape[2]:
        rows = rows.swapaxes(1, 2)
    _check_class(class_index, rows.shape[2] - 4)
    if rows[..., 4:].max(initial=0) > MOST_SCORE or rows[..., 4:].min(initial=0) < 0:
        raise ModelError(
            "The detector gives other numbers than scores of 0 to 1 after its boxes, as one-stage"
            " pose models (YOLO-pose) do: give a detector and a top-down pose model."
        )
    return _corners(rows[..., :4]), rows[..., 4 + class_index]


def _corners(boxes: Float32) -> Float32:
    """Turn centre and size (..., 4) into xyxy."""
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def _check_class(index: int, classes: int) -> None:
    if not 0 <= index < classes:
        raise ModelError(
            f"The detector has {classes} class{'es' if classes > 1 else ''}, counted from 0: there"
            f" is no class {index}."
        )


_Decoder = Callable[[list[NDArray[Any]], Size, int], tuple[Float32, Float32]]
_DECODERS: dict[str, _Decoder] = {
    "rtmdet": _decode_rtmdet,
    "yolox": _decode_yolox,
    "dets": _decode_dets,
    "yolov8": _decode_yolov8,
}


def box_nms(
    boxes: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    iou_threshold: float,
    max_boxes: int,
) -> NDArray[np.intp]:
    """Suppress boxes greedily (NMS): give the indices (m,) of those to keep, best first.

    boxes: (n, 4) xyxy; scores: (n,), of which equal ones keep their order. A box whose
    intersection over union with a kept one is above ``iou_threshold`` is dropped; the search
    ends with ``max_boxes`` kept.
    """
    order = np.argsort(-scores, kind="stable")
    keep: list[np.intp] = []
    while len(order) and len(keep) < max_boxes:
        best, order = order[0], order[1:]
        keep.append(best)
        order = order[box_iou(boxes[best], boxes[order])[0] <= iou_threshold]
    return np.array(keep, dtype=np.intp)
