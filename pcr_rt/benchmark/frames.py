"""The frames that are timed: of a file, or made."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.geometry import Size
from pcr_rt.inference.agreement import SAMPLE
from pcr_rt.inference.detector import Detector
from pcr_rt.media import VideoReader, is_image, read_image

__all__ = ["frames_of", "made_frame"]

ROWS = 2
SURE = 0.4
SHARE = 0.8
"""How much of its place a person fills."""


def frames_of(source: Path, count: int) -> list[NDArray[np.uint8]]:
    """Read an image, or at most ``count`` frames of a video, evenly spread if its length is known.

    Raises InputError for a file that cannot be read.
    """
    if is_image(source):
        return [read_image(source)]
    with VideoReader(source) as video:
        step = max((video.frames or 0) // count, 1)
        frames = (frame for frame, _ in video)
        return list(itertools.islice(frames, 0, count * step, step))


def made_frame(size: Size, people: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Make a grey frame of ``size`` (w, h) with the sample image's surest person again and again.

    Returns it with the bounding boxes (people, 4), xyxy; the people stand in two rows.
    """
    image = read_image(SAMPLE)
    boxes, _ = Detector(device="cpu")([image], SURE)[0]
    left, top, right, bottom = boxes[0].round().astype(int)
    person = image[max(top, 0) : bottom, max(left, 0) : right]
    cell = size[0] / -(-max(people, ROWS) // ROWS), size[1] / ROWS
    scale = SHARE * min(cell[0] / person.shape[1], cell[1] / person.shape[0])
    copy = cv2.resize(person, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = copy.shape[:2]
    frame = np.full((size[1], size[0], 3), 128, np.uint8)
    places = []
    for i in range(people):
        x = int((i // ROWS + (1 - SHARE) / 2) * cell[0])
        y = int((i % ROWS + (1 - SHARE) / 2) * cell[1])
        frame[y : y + height, x : x + width] = copy
        places.append([x, y, x + width, y + height])
    return frame, np.array(places, float)
