"""A detector's outputs to boxes on the GPU; the part of ``kernels`` that concerns boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pcr_rt.cuda_kernels.kernels.launch import (
    NULL,
    DeviceArray,
    blocks,
    constant,
    cupy,
    launch,
    on_device,
    pointers,
    same_type,
    typed,
)
from pcr_rt.cuda_kernels.reference.boxes import YOLOX_STRIDES, yolox_is_decoded
from pcr_rt.errors import InputError, ModelError
from pcr_rt.geometry import Size
from pcr_rt.layouts import LAYOUTS

__all__ = ["Candidates", "box_nms", "box_nms_padded", "decode_boxes", "decode_boxes_padded"]

_LAYOUTS = tuple(LAYOUTS)
"""The order of `enum BoxLayout` in decode_boxes.cu."""


class Candidates(NamedTuple):
    """Candidate people of B frames on the device, best first.

    Rows past a frame's count hold nothing.
    """

    boxes: DeviceArray
    """(B, C, 4) xyxy in frame pixels, float32."""
    scores: DeviceArray
    """(B, C) float32."""
    counts: DeviceArray
    """(B,) int32."""


def decode_boxes(
    outputs: Sequence[DeviceArray],
    layout: str,
    scales: DeviceArray,
    frame_sizes: DeviceArray,
    *,
    input_size: Size,
    score_threshold: float,
    class_index: int = 0,
    max_candidates: int = 1000,
) -> list[tuple[DeviceArray, DeviceArray]]:
    """Do what :func:`reference.decode_boxes` does. Waits for the device to learn the counts.

    Raises InputError for another class than the first, which the kernels do not read.
    """
    if class_index:
        raise InputError(f"class_index is {class_index}; the kernels read a detector's class 0.")
    decoded = layout == "yolox" and yolox_is_decoded(cupy().asarray(outputs[0]).get())
    found = decode_boxes_padded(
        outputs,
        layout,
        scales,
        frame_sizes,
        input_size=input_size,
        score_threshold=score_threshold,
        max_candidates=max_candidates,
        decoded=decoded,
    )
    counts = found.counts.get().tolist()
    return [(found.boxes[i, :n], found.scores[i, :n]) for i, n in enumerate(counts)]


def decode_boxes_padded(
    outputs: Sequence[DeviceArray],
    layout: str,
    scales: DeviceArray,
    frame_sizes: DeviceArray | None,
    *,
    input_size: Size,
    score_threshold: float,
    max_candidates: int = 1000,
    decoded: bool = False,
    out: Candidates | None = None,
) -> Candidates:
    """Find the candidates of all frames in one launch.

    scales and frame_sizes are host arrays; or frame_sizes is None, and scales (B, 3) float64 on the
    device has each frame's scale, width and height. decoded: whether YOLOX's boxes are in input
    pixels, see :func:`reference.yolox_is_decoded`. out: arrays for the results.
    """
    cp = cupy()
    labels = NULL
    arrays = list(outputs)
    if layout == "dets":
        if len(arrays) > 1:
            labels = on_device(arrays[1], np.int32, tuple(arrays[1].shape), "labels")
        arrays = arrays[:1]
    maps = same_type(arrays, "the detector's outputs")
    batch = len(maps[0])
    levels = _levels(maps, layout, input_size)
    points = int((levels[:, 0] * levels[:, 1]).sum())
    if layout != "rtmdet" and maps[0].shape[1] != points:
        raise ModelError(
            f"The detector gives {maps[0].shape[1]} boxes, but YOLOX gives {points} at "
            f"{input_size[0]}x{input_size[1]}; use the official export without its NMS."
        )
    if layout == "yolox" and maps[0].shape[2] < 6:
        raise ModelError("The detector has no classes: YOLOX's has at least one.")
    if frame_sizes is None:
        frames = on_device(scales, np.float64, (batch, 3), "scales")
    else:
        rows = np.column_stack([np.asarray(scales), np.asarray(frame_sizes)])
        frames = constant(rows.astype(np.float64))
    found = out or Candidates(
        cp.empty((batch, max_candidates, 4), np.float32),
        cp.empty((batch, max_candidates), np.float32),
        cp.zeros(batch, np.int32),
    )
    if batch and points:
        launch(
            typed("decode_boxes", maps[0].dtype),
            (blocks(points), batch),
            256,
            (
                pointers(maps),
                labels,
                constant(levels),
                frames,
                cp.empty((batch, points, 4), np.float32),
                cp.empty((batch, points), np.float32),
                cp.empty((batch, points), np.int32),
                cp.zeros(batch, np.int32),
                cp.zeros(batch, np.int32),
                *found,
                *map(np.int32, (_LAYOUTS.index(layout), len(levels), points, *input_size)),
                *map(np.int32, (maps[0].shape[-1], decoded)),
                np.float32(score_threshold),
                np.int32(max_candidates),
            ),
        )
    return found


def box_nms(
    boxes: DeviceArray, scores: DeviceArray, iou_threshold: float, max_boxes: int
) -> DeviceArray:
    """Do what :func:`reference.box_nms` does, boxes in float32. Waits to learn the count."""
    one = Candidates(
        on_device(boxes, np.float32, (None, 4), "boxes")[None],
        same_type([scores], "scores", (np.float32, np.float64))[0][None],
        constant(np.array([len(boxes)], np.int32)),
    )
    keep, kept = box_nms_padded(one, iou_threshold, max_boxes)
    return keep[0, : int(kept.get()[0])].astype(np.intp)


def box_nms_padded(
    candidates: Candidates,
    iou_threshold: float,
    max_boxes: int,
    *,
    out: tuple[DeviceArray, DeviceArray] | None = None,
) -> tuple[DeviceArray, DeviceArray]:
    """Choose rows (B, max_boxes) of each frame's candidates, best first, and count them (B,).

    out: arrays for both.
    """
    cp = cupy()
    batch, capacity = candidates.scores.shape
    keep, kept = out or (cp.empty((batch, max_boxes), np.int32), cp.zeros(batch, np.int32))
    if candidates.scores.size and max_boxes:
        sizes = (np.int32(capacity), np.int32(max_boxes))
        gone = cp.empty((batch, capacity), np.int32)
        arguments = (*candidates, gone, keep, kept, *sizes, np.float64(iou_threshold))
        launch(typed("box_nms", candidates.scores.dtype), (batch,), 256, arguments)
    return keep, kept


def _levels(maps: list[DeviceArray], layout: str, size: Size) -> Any:
    """Give rows, columns and number of points before each level: (L, 3) int32."""
    if layout == "rtmdet":
        grids = [m.shape[1:3] for m in maps]
    elif layout == "yolox":
        grids = [(size[1] // stride, size[0] // stride) for stride in YOLOX_STRIDES]
    else:
        grids = [(1, maps[0].shape[1])]
    cells = np.array(grids, np.int32).reshape(-1, 2)
    first = np.concatenate([[0], np.cumsum(cells.prod(axis=1))[:-1]])
    return np.column_stack([cells, first]).astype(np.int32)
