"""The layouts in which detectors give their boxes, told by the shapes of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pcr_rt.skeleton import COCO17

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LAYOUTS",
    "BoxLayout",
    "Shapes",
    "is_one_stage_pose",
    "ranks_of",
]

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

Shapes = Sequence[Sequence[Any]]
"""Of each output; a size that the file leaves open is no int."""


@dataclass(frozen=True)
class BoxLayout:
    """A way in which detectors give their boxes.

    fits: whether outputs of these shapes can be read so; recognised: whether a file without a spec
    that has them is taken for one; mean, std, colour: of the input of such a file. on_device: the
    kernels read it too.
    """

    fits: Callable[[Shapes], bool]
    recognised: Callable[[Shapes], bool]
    mean: tuple[float, float, float] = IMAGENET_MEAN[::-1]
    std: tuple[float, float, float] = IMAGENET_STD[::-1]
    colour: Literal["rgb", "bgr"] = "bgr"
    on_device: bool = True


LAYOUTS: dict[str, BoxLayout] = {
    "rtmdet": BoxLayout(
        fits=lambda shapes: (
            ranks_of(shapes) == [4, 4, 4] and all(_last(s) in (5, None) for s in shapes)
        ),
        recognised=lambda shapes: (
            ranks_of(shapes) == [4, 4, 4] and all(_last(s) == 5 for s in shapes)
        ),
    ),
    "yolox": BoxLayout(
        fits=lambda shapes: ranks_of(shapes)[:1] == [3] and (_last(shapes[0]) or 5) >= 5,
        recognised=lambda shapes: (
            ranks_of(shapes) == [3] and (_last(shapes[0]) or 0) >= 6 and not _is_yolov8(shapes)
        ),
        mean=(0, 0, 0),
        std=(1, 1, 1),
    ),
    "dets": BoxLayout(
        fits=lambda shapes: ranks_of(shapes)[:1] == [3] and _last(shapes[0]) in (5, None),
        recognised=lambda shapes: ranks_of(shapes) == [3, 2] and _last(shapes[0]) in (5, None),
    ),
    "yolov8": BoxLayout(
        fits=lambda shapes: ranks_of(shapes)[:1] == [3],
        recognised=lambda shapes: ranks_of(shapes) == [3] and _is_yolov8(shapes),
        mean=(0, 0, 0),
        std=(255, 255, 255),
        colour="rgb",
        on_device=False,
    ),
}
"""Every layout of boxes, tried in this order on a file without a spec.

A new one is a row here, last, and a decoder of its name in ``reference/boxes.py``; for GPUs, where
those with ``on_device`` are read, a member of ``enum BoxLayout`` in ``decode_boxes.cu``, which has
this order. Files of the others are read on the host.
"""


COCO_CLASSES, FEWEST_POINTS = 80, 1000


def _is_yolov8(shapes: Shapes) -> bool:
    """YOLOv8 to YOLO11: (B, 4 + classes, points) or its transpose, or (B, n, 6) after an NMS.

    The transpose is told from YOLOX by the 80 classes of COCO, for which YOLOX has 85 columns; what
    is left by an NMS is told from a YOLOX of one class by its few rows.
    """
    rows, columns = map(_size, shapes[0][1:])
    if columns == 6 and rows is not None and rows < FEWEST_POINTS:
        return True
    if rows is not None and rows >= 5 and (columns is None or columns >= max(rows, FEWEST_POINTS)):
        return True
    return columns == 4 + COCO_CLASSES and (rows is None or rows >= FEWEST_POINTS)


def is_one_stage_pose(shapes: Shapes) -> bool:
    """Tell a model that finds people and keypoints at once.

    RTMO has boxes and any keypoints; YOLO-pose has boxes, a score and keypoints in one row.

    Of YOLO-pose's raw outputs only those of 17 keypoints can be told from a detector's by their
    shape; for others there is what the file says of its task, and their values (``boxes.py``).
    """
    if ranks_of(shapes) == [3, 4]:
        return _last(shapes[0]) == 5 and _last(shapes[1]) in (2, 3)
    if ranks_of(shapes) != [3]:
        return False
    rows, columns = map(_size, shapes[0][1:])
    coco = 3 * len(COCO17)
    if 5 + coco in (rows, columns) or columns == 6 + coco:
        return True
    if rows is None or columns is None or max(rows, columns) >= FEWEST_POINTS:
        return False
    if columns == 4 + COCO_CLASSES:  # RT-DETR, which is not read, but has no keypoints
        return False
    # What is left by an NMS inside: box, score, class, and 2 or 3 numbers a keypoint.
    return columns > 6 and (columns % 3 == 0 or columns % 2 == 0)


def ranks_of(shapes: Shapes) -> list[int]:
    """Count the sizes of each output's shape."""
    return [len(shape) for shape in shapes]


def _size(size: Any) -> int | None:
    """A size of a shape, None if it is open."""
    return size if isinstance(size, int) else None


def _last(shape: Sequence[Any]) -> int | None:
    """The last size, None if it is open."""
    return _size(shape[-1]) if shape else None
