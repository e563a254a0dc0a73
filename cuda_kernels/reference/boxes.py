"""Decode a detector's outputs to boxes in frame pixels, and suppress them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import ModelError
from pcr_rt.geometry import Size, box_iou, clip_boxes

__all__ = ["box_nms", "decode_boxes"]

Float32 = NDArray[np.float32]

YOLOX_STRIDES = (8, 16, 32)


def decode_boxes(
    outputs: Sequence[NDArray[Any]],
    layout: str,
    scales: NDArray[np.float64],
    frame_sizes: NDArray[np.intp],
    *,
    input_size: Size,
    score_threshold: float,
    max_candidates: int = 1000,
) -> list[tuple[Float32, Float32]]:
    """Decode each frame's candidates: boxes (n, 4) xyxy in frame pixels and scores (n,), float32.

    outputs: the network's, float16 or float32, for a batch of B letterboxed frames; layout: a key
    of ``pcr_rt.models.LAYOUTS``:

    - ``rtmdet``: maps (B, h, w, 5), one a stride: person logit and the distances left, top, right
      and bottom in input pixels from the point (column * stride, row * stride);
    - ``yolox``: (B, n, 85), the official export: centre and log size in grid units, objectness,
      80 class scores of which the first is the person's;
    - ``dets``: (B, n, 5), xyxy and score in input pixels, suppressed already; optionally labels
      (B, n), of which 0 is a person.

    scales: (B,) as :func:`letterbox` gives them; frame_sizes: (B, 2) as (width, height).

    Boxes are cut at the frame's borders. They come in descending order of score (equal scores in
    the network's order), at most ``max_candidates`` of those that score ``score_threshold`` or
    more; what has no area inside the frame or is not finite is left out.
    """
    arrays = [np.asarray(output) for output in outputs]
    boxes, scores = _DECODERS[layout](arrays, input_size)
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


def _decode_rtmdet(outputs: list[NDArray[Any]], input_size: Size) -> tuple[Float32, Float32]:
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


def _decode_yolox(outputs: list[NDArray[Any]], input_size: Size) -> tuple[Float32, Float32]:
    rows = outputs[0][..., :6].astype(np.float32)
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
    centre = (rows[..., :2] + grid) * step
    # exp(20) input pixels is beyond every frame; half precision may hold more than exp can take.
    half = np.exp(rows[..., 2:4].clip(max=20)) * (step / 2)
    boxes = np.concatenate([centre - half, centre + half], axis=-1)
    return boxes, rows[..., 4] * rows[..., 5]


def _decode_dets(outputs: list[NDArray[Any]], _: Size) -> tuple[Float32, Float32]:
    dets = outputs[0].astype(np.float32, copy=False)
    scores = dets[..., 4]
    if len(outputs) > 1:
        scores = np.where(outputs[1] == 0, scores, np.float32(-np.inf))
    return dets[..., :4], scores


_Decoder = Callable[[list[NDArray[Any]], Size], tuple[Float32, Float32]]
_DECODERS: dict[str, _Decoder] = {
    "rtmdet": _decode_rtmdet,
    "yolox": _decode_yolox,
    "dets": _decode_dets,
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
