"""Images to look at: each id's person over time, and everybody in every so many frames."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.colours import DARK
from pcr_rt.drawing import contact_sheet
from pcr_rt.poses import Poses

CROP_EVERY, FRAME_EVERY = 30, 20
CROP, FRAME, COLUMNS = (64, 120), (480, 360), 4
Image = NDArray[np.uint8]


class Sheets:
    """Collects a clip's crops and frames as it runs, and writes two PNG files."""

    def __init__(self) -> None:
        self._crops: dict[int, list[tuple[int, Image]]] = defaultdict(list)
        self._frames: list[tuple[int, Image]] = []

    def add(self, number: int, frame: Image, poses: Poses) -> None:
        """Take what is due of frame ``number``, counted from 1."""
        for person, box in zip(poses.ids.tolist(), poses.boxes.astype(int).tolist(), strict=True):
            crops = self._crops[person]
            if not crops or number - crops[-1][0] >= CROP_EVERY:
                x1, y1, x2, y2 = box
                crops.append((number, frame[y1 : y2 + 1, x1 : x2 + 1].copy()))
        if number % FRAME_EVERY == 1:
            self._frames.append((number, poses.draw(frame)))

    def write(self, folder: Path, name: str) -> None:
        """Write ``name.people.png``, a row for each id, and ``name.frames.png``."""
        folder.mkdir(parents=True, exist_ok=True)
        longest = max(map(len, self._crops.values()), default=0)
        images, captions, blank = [], [], np.full((1, 1, 3), DARK, np.uint8)
        for person, crops in sorted(self._crops.items()):
            blanks = longest - len(crops)
            images += [*(crop for _, crop in crops), *[blank] * blanks]
            captions += [f"{person}: {number}" for number, _ in crops] + [""] * blanks
        if images:
            sheet = contact_sheet(images, longest, CROP, captions)
            cv2.imwrite(str(folder / f"{name}.people.png"), sheet)
        drawn = [image for _, image in self._frames]
        captions = [f"frame {number}" for number, _ in self._frames]
        cv2.imwrite(
            str(folder / f"{name}.frames.png"), contact_sheet(drawn, COLUMNS, FRAME, captions)
        )
