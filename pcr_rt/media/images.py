"""Pictures from files and folders."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.files import write_whole

__all__ = ["IMAGE_SUFFIXES", "can_write", "list_images", "read_image", "write_image"]

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
        if data[position + 1 : position + 2] == b"\xff":  # a marker may be filled up with these
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data.find(b"\xff\xd9", position) >= 0


def can_write(suffix: str) -> bool:
    """Whether this OpenCV writes pictures with such a suffix."""
    return cv2.haveImageWriter(f"picture{suffix}")


def write_image(path: str | Path, image: NDArray[np.uint8], *, quality: int = 95) -> None:
    """Write a picture (H, W, 3) uint8 BGR in the format of the name's suffix.

    quality: of a JPEG. Raises InputError where it cannot be written or is too large for the format;
    what was there before then stays.
    """
    path = Path(path)
    jpeg, data = path.suffix.lower() in (".jpg", ".jpeg"), None
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
    # Not by cv2.imwrite, which ends the process at a name that is no UTF-8 and gives no reasons.
    with suppress(cv2.error):
        data = cv2.imencode(path.suffix, image, options)[1]
    if not isinstance(data, np.ndarray):
        raise InputError(
            f"A picture of {image.shape[1]}x{image.shape[0]} cannot be written to {path}: name"
            " another format."
        )
    write_whole(path, data.tobytes())


def list_images(folder: str | Path) -> list[Path]:
    """The pictures of a folder, by their suffix, in order of name. InputError if there are none.

    Hidden ones are left out: some systems keep a file of their own beside each picture.
    """
    try:
        files = sorted(
            p
            for p in Path(folder).iterdir()
            if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file()
        )
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror}.") from None
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"The folder {folder} has no pictures: put some there ({kinds}).")
    return files
