"""Pictures from files and folders."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError

__all__ = ["IMAGE_SUFFIXES", "list_images", "read_image"]

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 BGR, turned upright as its EXIF orientation says.

    Grey becomes BGR, 16 bits become 8, transparency is dropped. Raises InputError where the file
    is missing, cut short or no picture.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"The picture {path} cannot be opened ({error.strerror}): check its name."
        ) from None
    if not _complete(data):
        raise InputError(f"The picture {path} is cut short: copy or download it again.")
    image = None
    with suppress(cv2.error):  # no bytes, or more pixels than OpenCV allows
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(
            f"The file {path} is no picture that OpenCV reads: give a JPEG, PNG, WebP, BMP or TIFF."
        )
    return np.asarray(image, dtype=np.uint8)


def _complete(data: bytes) -> bool:
    """False where the end of a JPEG, PNG or WebP is missing; decoders would make it up."""
    if data.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" in data
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    if not data.startswith(b"\xff\xd8"):
        return True
    # A thumbnail in the header has an end mark of its own: step over the header's segments.
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data.find(b"\xff\xd9", position) >= 0


def list_images(folder: str | Path) -> list[Path]:
    """The pictures of a folder, by their suffix, in order of name. InputError if there are none."""
    try:
        files = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror}.") from None
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"The folder {folder} has no pictures: put some there ({kinds}).")
    return files
