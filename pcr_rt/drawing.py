"""Draw skeletons, boxes and labels on frames, and sheets of small images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.poses import SURE_KEYPOINT, Poses
from pcr_rt.skeleton import Skeleton

__all__ = ["contact_sheet", "draw_poses"]

Frame = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Three hues of Okabe and Ito that stay apart under every common colour blindness, as BGR.
COLOURS: dict[str, Colour] = {
    "left": (0, 159, 230),
    "right": (233, 180, 86),
    "centre": (66, 228, 240),
}
DARK: Colour = (32, 32, 32)
LIGHT: Colour = (240, 240, 240)
FONT = cv2.FONT_HERSHEY_SIMPLEX

SUBPIXEL_BITS = 4
FARTHEST = 1e5
"""What lies beyond it, in pixels, is pulled in: OpenCV counts sub-pixels in 32 bits."""


SMALL_SIGMA = 0.05
"""Keypoints with a lower sigma, such as those of faces and hands, lie close together."""


@dataclass(frozen=True)
class _Style:
    """Which limbs (L,) and keypoints (K,) of a skeleton have which colour, and the small dots."""

    limbs: NDArray[np.intp]
    limbs_of: dict[str, NDArray[np.bool_]]
    joints_of: dict[str, NDArray[np.bool_]]
    small: NDArray[np.bool_]


@lru_cache(maxsize=16)
def _style(skeleton: Skeleton) -> _Style:
    sides = np.array(skeleton.sides)
    a, b = sides[skeleton.limb_array.T]
    # A limb from the middle to a side is of that side, one from side to side of neither.
    limbs = np.where(a == b, a, np.where(a == "centre", b, np.where(b == "centre", a, "centre")))
    return _Style(
        skeleton.limb_array,
        {c: limbs == c for c in COLOURS},
        {c: sides == c for c in COLOURS},
        skeleton.sigma_array < SMALL_SIGMA,
    )


def draw_poses(
    frame: NDArray[Any],
    poses: Poses,
    *,
    keypoint_threshold: float | None = None,
    boxes: bool = True,
    labels: bool = True,
    inplace: bool = False,
) -> Frame:
    """Draw a frame's people: left limbs orange, right ones blue, the middle yellow.

    frame: (H, W, 3) uint8 BGR; a copy is drawn on unless ``inplace``. Keypoints with a score below
    ``keypoint_threshold`` and their limbs fade with the square of their score; None: 0.8 if scores
    are probabilities, which keypoints outside the image hardly reach, 0.3 if raw. Labels are
    "#id score", or the score alone if nobody is tracked. Raises InputError for another kind of
    array.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise InputError(
            f"A frame to draw on is (height, width, 3) uint8, not {frame.shape} {frame.dtype}."
        )
    if inplace and not (frame.flags.c_contiguous and frame.flags.writeable):
        raise InputError("Drawing in place needs a contiguous, writable frame: pass a copy.")
    canvas = frame if inplace else frame.copy(order="C")
    # The best are drawn last, so that they lie on top.
    order = np.argsort(poses.scores, kind="stable")
    corners = np.rint(np.clip(np.nan_to_num(poses.boxes), -FARTHEST, FARTHEST)).astype(int).tolist()
    if boxes:
        for person in order:
            _draw_box(canvas, corners[person])
    if keypoint_threshold is None:
        keypoint_threshold = SURE_KEYPOINT[poses.score_kind]
    quarters, style = _quarters(poses, keypoint_threshold), _style(poses.skeleton)
    for level in (1, 2, 3, 4):  # what is sure lies on top
        for person in order[(quarters[order] == level).any(axis=1)]:
            keypoints, width = poses.keypoints[person], _line_width(corners[person], canvas)
            with _opacity(canvas, keypoints[quarters[person] >= level], width, level / 4):
                _draw_skeleton(canvas, style, keypoints, quarters[person], level, width)
    if labels:
        taken: list[list[int]] = []
        for person in order[::-1]:  # the best have their label in its place
            label = f"{poses.scores[person]:.2f}"
            if poses.ids is not None:
                label = f"#{poses.ids[person]} {label}"
            taken.append(_draw_label(canvas, corners[person], label, taken))
    return canvas


def _frame_scale(canvas: Frame) -> float:
    """1 at 720p, in proportion to the frame's diagonal."""
    return float(np.hypot(*canvas.shape[:2])) / float(np.hypot(720, 1280))


def _line_width(box: list[int], canvas: Frame) -> int:
    """Limbs grow with the person, but not beyond what suits the frame."""
    person = max(box[2] - box[0], box[3] - box[1])
    return round(float(np.clip(person / 80, 1, max(2.0, 4 * _frame_scale(canvas)))))


def _quarters(poses: Poses, threshold: float) -> NDArray[np.intp]:
    """Opacity (N, K) of each keypoint in quarters, rounded down; 0 for what is not finite."""
    share = np.nan_to_num(poses.keypoint_scores / max(threshold, 1e-9)).clip(0, 1)
    finite = np.isfinite(poses.keypoints).all(axis=2)
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
    keypoints: NDArray[np.float32],
    quarters: NDArray[np.intp],
    level: int,
    width: int,
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
    outline = 3 if width > 1 else 2  # a line without anti-aliasing is thinner, but far faster
    _polylines(canvas, lines[limbs], DARK, width + outline, cv2.LINE_8)
    for name, colour in COLOURS.items():
        _polylines(canvas, lines[limbs & style.limbs_of[name]], colour, width)
    # Smaller dots keep apart what lies close together, such as the face's joints.
    for part, dot in ((style.small, width + 1), (~style.small, 2 * width)):
        _polylines(canvas, dots[seen & part], DARK, dot + outline, cv2.LINE_8)
        for name, colour in COLOURS.items():
            _polylines(canvas, dots[seen & part & style.joints_of[name]], colour, dot)


def _polylines(
    canvas: Frame, lines: NDArray[np.int32], colour: Colour, width: int, kind: int = cv2.LINE_AA
) -> None:
    if len(lines):
        cv2.polylines(canvas, list(lines), False, colour, width, kind, SUBPIXEL_BITS)


def _draw_box(canvas: Frame, box: list[int]) -> None:
    left, top, right, bottom = box
    width = max(1, round(_frame_scale(canvas)))
    cv2.rectangle(canvas, (left + 1, top + 1), (right + 1, bottom + 1), DARK, width)
    cv2.rectangle(canvas, (left, top), (right, bottom), LIGHT, width)


def _draw_label(canvas: Frame, box: list[int], label: str, taken: list[list[int]]) -> list[int]:
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
    cv2.rectangle(canvas, (left, bottom), (place[2], place[1]), DARK, cv2.FILLED)
    origin = (left + pad, bottom - descent - pad)
    cv2.putText(canvas, label, origin, FONT, scale, LIGHT, thickness, cv2.LINE_AA)
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
