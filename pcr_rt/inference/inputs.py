"""Frames and boxes as other libraries give them: paths, PIL images, supervision's detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcr_rt.errors import InputError
from pcr_rt.frames import CheckedFrames
from pcr_rt.media import read_image

__all__ = ["as_frames", "rows_of"]

EXIF_ORIENTATION = 0x0112
TURNED_AXES = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}
"""Which axes are mirrored for each orientation, after transposing from 5 on."""


def as_frames(frames: Sequence[Any]) -> Sequence[Any]:
    """Read the frames that are paths or PIL images; all others stay as they are.

    Raises InputError for a file that `read_image` cannot read.
    """
    if isinstance(frames, CheckedFrames):
        return frames
    return [_as_frame(frame) for frame in frames]


def _as_frame(frame: Any) -> Any:
    if isinstance(frame, str | Path):
        return read_image(frame)
    if not (hasattr(frame, "getexif") and hasattr(frame, "convert")):
        return frame
    try:
        image = np.asarray(frame.convert("RGB"))[..., ::-1]
        orientation = frame.getexif().get(EXIF_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError) as error:  # PIL reads files when they are needed
        raise InputError(f"The PIL image cannot be read ({error}): give another one.") from None
    if orientation in TURNED_AXES:
        image = image.transpose(1, 0, 2) if orientation >= 5 else image
        image = np.flip(image, TURNED_AXES[orientation])
    return np.ascontiguousarray(image)


def rows_of(boxes: Any) -> Any:
    """Boxes as (N, 4) or (N, 5) rows; of ``supervision.Detections`` those of people.

    Detections whose class names are known are people if that is ``person``.
    """
    xyxy = getattr(boxes, "xyxy", None)
    if xyxy is None:
        return boxes
    scores = getattr(boxes, "confidence", None)
    rows = xyxy if scores is None else np.column_stack([xyxy, scores])
    data = getattr(boxes, "data", None)
    names = data.get("class_name") if isinstance(data, dict) else None
    return rows if names is None or len(names) != len(rows) else rows[np.asarray(names) == "person"]
