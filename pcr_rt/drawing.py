"""Draw skeletons, boxes and labels on frames, and sheets of small images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.colours import DARK, LIGHT, Colour, Colouring, Shades, person_shades
from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.skeleton import Skeleton

__all__ = ["DrawOptions", "contact_sheet", "draw_people", "label_text"]

Frame = NDArray[np.uint8]

FONT = cv2.FONT_HERSHEY_SIMPLEX

SUBPIXEL_BITS = 4
FARTHEST = 1e5
"""What lies beyond it, in pixels, is pulled in: OpenCV counts sub-pixels in 32 bits."""

TINY, SMALL = 50, 120
"""Pixels of a person's longer side at 720p, below which less is drawn."""
SMALL_SIGMA = 0.05
"""Keypoints with a lower sigma, such as those of faces and hands, lie close together."""


class DrawOptions(TypedDict, total=False):
    """How a stream's people are drawn: options of `pcr_rt.poses.Poses.draw`."""

    colours: Colouring
    boxes: bool
    ids: bool
    scores: bool
    keypoint_threshold: float | None


@dataclass(frozen=True)
class _Style:
    """Which limbs (L,) and keypoints (K,) of a skeleton are of which side, and the small dots."""

    limbs: NDArray[np.intp]
    limbs_of: dict[str, NDArray[np.bool_]]
    joints_of: dict[str, NDArray[np.bool_]]
    small: NDArray[np.bool_]


@lru_cache(maxsize=16)
def _style(skeleton: Skeleton) -> _Style:
    names, sides = ("left", "right", "centre"), np.array(skeleton.sides)
    a, b = sides[skeleton.limb_array.T]
    # A limb from the middle to a side is of that side, one from side to side of neither.
    limbs = np.where(a == b, a, np.where(a == "centre", b, np.where(b == "centre", a, "centre")))
    return _Style(
        skeleton.limb_array,
        {side: limbs == side for side in names},
        {side: sides == side for side in names},
        skeleton.sigma_array < SMALL_SIGMA,
    )


class _Pen(NamedTuple):
    """How a person is drawn: pixels across limbs, joints and dots that lie close together.

    outline: what the dark outline adds to them; small people have none, and the smallest are seen
    through their skeleton.
    """

    width: int
    joint: int
    dot: int
    outline: int
    opacity: float


def draw_people(
    frame: NDArray[Any],
    skeleton: Skeleton,
    keypoints: NDArray[np.float32],
    keypoint_scores: NDArray[np.float32],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    ids: NDArray[np.int64] | None = None,
    *,
    sure: float,
    colours: Colouring = "people",
    show_boxes: bool = True,
    show_ids: bool = True,
    show_scores: bool = False,
    inplace: bool = False,
) -> Frame:
    """Draw a frame's people; `pcr_rt.poses.Poses.draw` says how.

    frame: (H, W, 3) uint8 BGR. keypoints (N, K, 2), keypoint_scores (N, K), boxes (N, 4) xyxy,
    scores (N,), ids (N,). Keypoints with a score below ``sure`` fade. Raises InputError for another
    kind of frame.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise InputError(
            f"A frame to draw on is (height, width, 3) uint8, not {frame.shape} {frame.dtype}."
        )
    if colours not in get_args(Colouring):
        raise InputError(f"colours is {colours!r}; use one of 'people', 'sides'.")
    if inplace and not (frame.flags.c_contiguous and frame.flags.writeable):
        raise InputError("Drawing in place needs a contiguous, writable frame: pass a copy.")
    canvas = frame if inplace else frame.copy(order="C")
    # The best are drawn last, so that they lie on top.
    order = np.argsort(scores, kind="stable")
    corners = np.rint(np.clip(np.nan_to_num(boxes), -FARTHEST, FARTHEST)).astype(int).tolist()
    numbers = range(1, len(scores) + 1) if ids is None else ids.tolist()
    shades = [person_shades(number, colours) for number in numbers]
    if show_boxes:
        for person in order:
            _draw_box(canvas, corners[person], shades[person].box)
    quarters, style = _quarters(keypoints, keypoint_scores, sure), _style(skeleton)
    for level in (1, 2, 3, 4):  # what is sure lies on top
        for person in order[(quarters[order] == level).any(axis=1)]:
            points, pen = keypoints[person], _pen(corners[person], canvas)
            opacity = pen.opacity * level / 4
            with _opacity(canvas, points[quarters[person] >= level], pen.width, opacity):
                _draw_skeleton(canvas, style, shades[person], points, quarters[person], level, pen)
    taken: list[list[int]] = []
    for person in order[::-1]:  # the best have their label in its place
        known = None if ids is None else int(ids[person])
        score = float(scores[person])
        if label := label_text(known, score, show_ids=show_ids, show_scores=show_scores):
            taken.append(_draw_label(canvas, corners[person], label, shades[person], taken))
    return canvas


def label_text(id_: int | None, score: float, *, show_ids: bool, show_scores: bool) -> str:
    """Write what a person's label says: "#12 0.93", a part of it, or nothing."""
    words = [f"#{id_}"] if show_ids and id_ is not None else []
    return " ".join([*words, f"{score:.2f}"] if show_scores else words)


def _frame_scale(canvas: Frame) -> float:
    """1 at 720p, in proportion to the frame's height."""
    return float(canvas.shape[0] / 720)


def _pen(box: list[int], canvas: Frame) -> _Pen:
    """Lines grow with the person, within what suits the frame, and do not cover small people."""
    scale = _frame_scale(canvas)
    person = max(box[2] - box[0], box[3] - box[1])
    width = max(1, round(float(np.clip(person / 80, scale, max(2.0, 4 * scale)))))
    small = person / max(1.0, scale)
    if small < TINY:
        return _Pen(width, width, width, 0, 0.5)
    if small < SMALL:
        return _Pen(width, 2 * width, width, 0, 1.0)
    return _Pen(width, 2 * width, width + 1, 1 + round(width / 2), 1.0)


def _quarters(
    keypoints: NDArray[np.float32], scores: NDArray[np.float32], sure: float
) -> NDArray[np.intp]:
    """Opacity (N, K) of each keypoint in quarters, rounded down; 0 for what is not finite."""
    share = np.nan_to_num(scores / max(sure, 1e-9)).clip(0, 1)
    finite = np.isfinite(keypoints).all(axis=2)
    return np.asarray(np.floor(4 * np.square(share) * finite), dtype=np.intp)


@contextmanager
def _opacity(
    canvas: Frame, points: NDArray[np.float32], width: int, opacity: float
) -> Iterator[None]:
    """Let what is drawn meanwhile, with lines between points (N, 2), be that opaque."""
    if opacity == 1 or not len(points):
        yield
        return
    margin = 2 * width + 4
    (left, top), (right, bottom) = (
        np.clip(edge, 0, canvas.shape[1::-1]).astype(int)
        for edge in (points.min(axis=0) - margin, points.max(axis=0) + margin)
    )
    part = canvas[top:bottom, left:right]
    before = part.copy()
    yield
    if part.size:
        cv2.addWeighted(part, opacity, before, 1 - opacity, 0, dst=part)


def _draw_skeleton(
    canvas: Frame,
    style: _Style,
    shades: Shades,
    keypoints: NDArray[np.float32],
    quarters: NDArray[np.intp],
    level: int,
    pen: _Pen,
) -> None:
    """Draw the joints and limbs of one opacity; a limb has that of its fainter joint."""
    seen = quarters == level
    limbs = quarters[style.limbs].min(axis=1) == level
    drawn = seen.copy()
    drawn[style.limbs[limbs]] = True
    inside = np.clip(np.where(drawn[:, None], keypoints, 0), -FARTHEST, FARTHEST)
    points = np.rint(inside * (1 << SUBPIXEL_BITS)).astype(np.int32)
    # A line without length is drawn as a dot, and one call draws many lines.
    lines, dots = points[style.limbs], np.stack([points, points], axis=1)
    width, outline = pen.width, pen.outline
    if outline:  # a line without anti-aliasing is thinner, but far faster
        _polylines(canvas, lines[limbs], DARK, width + outline, cv2.LINE_8)
    for side, of_side in style.limbs_of.items():
        _polylines(canvas, lines[limbs & of_side], getattr(shades, side), width)
    # Smaller dots keep apart what lies close together, such as the face's joints.
    for part, dot in ((style.small, pen.dot), (~style.small, pen.joint)):
        if outline:
            _polylines(canvas, dots[seen & part], DARK, dot + outline, cv2.LINE_8)
        for side, of_side in style.joints_of.items():
            _polylines(canvas, dots[seen & part & of_side], getattr(shades, side), dot)


def _polylines(
    canvas: Frame, lines: NDArray[np.int32], colour: Colour, width: int, kind: int = cv2.LINE_AA
) -> None:
    if len(lines):
        cv2.polylines(canvas, list(lines), False, colour, width, kind, SUBPIXEL_BITS)


def _draw_box(canvas: Frame, box: list[int], colour: Colour) -> None:
    left, top, right, bottom = box
    width = max(1, round(_frame_scale(canvas)))
    cv2.rectangle(canvas, (left + 1, top + 1), (right + 1, bottom + 1), DARK, width)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, width)


def _draw_label(
    canvas: Frame, box: list[int], label: str, shades: Shades, taken: list[list[int]]
) -> list[int]:
    """On the box's top edge, moved into the frame and above labels that are there: its place."""
    scale = max(0.4, 0.5 * _frame_scale(canvas))
    thickness = max(1, round(1.2 * scale))
    (width, height), descent = cv2.getTextSize(label, FONT, scale, thickness)
    pad = max(2, height // 4)
    wide, high = width + 2 * pad, height + descent + 2 * pad
    left = max(0, min(box[0], canvas.shape[1] - wide))
    wanted = bottom = min(max(box[1], high), canvas.shape[0])
    for x1, y1, x2, y2 in sorted(taken, key=lambda place: -place[3]):
        if left < x2 and x1 < left + wide and bottom - high < y2 and y1 < bottom:
            bottom = y1
    if bottom < high:  # no room above: on top of the others
        bottom = wanted
    place = [left, bottom - high, left + wide, bottom]
    cv2.rectangle(canvas, (left, bottom), (place[2], place[1]), shades.tag, cv2.FILLED)
    origin = (left + pad, bottom - descent - pad)
    cv2.putText(canvas, label, origin, FONT, scale, shades.text, thickness, cv2.LINE_AA)
    return place


def contact_sheet(
    images: Sequence[Frame], columns: int, cell: Size, captions: Sequence[str] | None = None
) -> Frame:
    """Put small images side by side, row by row, each whole and centred in its cell.

    images: (H, W, 3) uint8 BGR, of any sizes; cell: (width, height) in pixels; captions: one for
    each image, in a strip below it. Raises InputError if there are no images.
    """
    if not images:
        raise InputError("A contact sheet needs at least one image.")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} images")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    width, height = cell
    strip = 0 if captions is None else 24
    sheet = np.full((rows * (height + strip), columns * width, 3), DARK, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        x, y = column * width, row * (height + strip)
        factor = min(width / image.shape[1], height / image.shape[0])
        w, h = (max(1, round(side * factor)) for side in (image.shape[1], image.shape[0]))
        interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        left, top = x + (width - w) // 2, y + (height - h) // 2
        sheet[top : top + h, left : left + w] = cv2.resize(
            image, (w, h), interpolation=interpolation
        )
        if captions is not None:
            origin = (x + 8, y + height + strip - 8)
            cv2.putText(sheet, captions[index], origin, FONT, 0.45, LIGHT, 1, cv2.LINE_AA)
    return sheet
