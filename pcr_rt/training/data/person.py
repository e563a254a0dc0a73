"""One person to learn from: the record that all readers give and the loader reads."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import DataError
from pcr_rt.geometry import Size

__all__ = ["Broken", "Person", "report_broken"]

log = logging.getLogger(__name__)

Broken = Literal["refuse", "skip"]
"""What happens to a broken image or annotation: an error, or a warning that names it."""


@dataclass(frozen=True)
class Person:
    """One person, in pixels of the image.

    image_id: as in the data set's file. box: (4,) xyxy; keypoints: (K, 2); amplitudes: (K,) peak
    height of each target, 1 for a label made by hand, the teacher's score for a pseudo-label, 0 for
    a hard negative; weights: (K,) 0 if unlabelled. image_size: (width, height) that the
    labels are for; None if the data set does not say. ignore_exif: they are for the image as it is
    stored, not turned as its EXIF orientation says.
    """

    image: Path
    image_id: int | str
    box: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    amplitudes: NDArray[np.float64]
    weights: NDArray[np.float64]
    image_size: Size | None = field(default=None, kw_only=True)
    ignore_exif: bool = field(default=False, kw_only=True)


def report_broken(problem: str, broken: Broken) -> None:
    """Warn of ``problem`` or, unless broken things are skipped, raise it as a DataError."""
    if broken == "refuse":
        raise DataError(f'{problem}: mend or remove it, or put broken = "skip" into the recipe.')
    log.warning("%s: left out", problem)
