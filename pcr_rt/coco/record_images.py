"""The images that COCO records name: found under a folder, and read as they were labelled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import DataError, InputError
from pcr_rt.geometry import Size
from pcr_rt.media import read_image

__all__ = ["image_path", "image_size", "read_labelled", "read_record_image"]

LABEL_STUDIO_PREFIX = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


def image_path(folder: Path, image: Mapping[str, Any]) -> Path:
    r"""Find the file of an image record; raise DataError for a record that does not name it.

    The name may have Windows' ``\``, folders of the machine that labelled it, and Label Studio's
    prefixes: if there is no such file, the bare name in ``folder`` counts.
    """
    name = image.get("file_name")
    if not isinstance(name, str):
        raise DataError(f"The image with id {image.get('id')} has no 'file_name': add it.")
    plain = folder / name
    if _is_file(plain):
        return plain
    tail = name.rpartition("?d=")[2].replace("\\", "/")
    bare = PurePosixPath(tail).name
    for candidate in (tail, bare, LABEL_STUDIO_PREFIX.sub("", bare, count=1)):
        if candidate and _is_file(folder / candidate):
            return folder / candidate
    return plain


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than the system allows, or with a NUL
        return False


def image_size(image: Mapping[str, Any]) -> Size | None:
    """(width, height) that an image record says; None if it does not."""
    width, height = image.get("width"), image.get("height")
    return (width, height) if width and height else None


def read_labelled(path: Path, size: Size | None, *, ignore_exif: bool = False) -> NDArray[np.uint8]:
    """Read an image (H, W, 3) uint8 BGR whose labels are for one of ``size``, (width, height).

    Raises InputError as ``read_image`` does, and if it has another size: labels in pixels of
    another copy fit nobody.
    """
    image = read_image(path, ignore_exif=ignore_exif)
    height, width = image.shape[:2]
    if size is None or size == (width, height):
        return image
    stored = read_image(path, ignore_exif=not ignore_exif).shape[:2]
    advice = "give the images that were labelled"
    if stored != (height, width) and ignore_exif:
        advice = "its EXIF orientation turns it, so leave out --ignore-exif"
    elif stored != (height, width):
        advice = (
            "its EXIF orientation turned it, so give --ignore-exif (in a recipe: ignore_exif ="
            " true) if it was labelled as it is stored, else mend its size"
        )
    raise InputError(
        f"The image {path} has {width}x{height} pixels, its annotations are for"
        f" {size[0]}x{size[1]}: {advice}."
    )


def read_record_image(
    folder: Path, image: Mapping[str, Any], *, ignore_exif: bool = False
) -> NDArray[np.uint8]:
    """Read the image of a record; raises what ``read_labelled`` does."""
    return read_labelled(image_path(folder, image), image_size(image), ignore_exif=ignore_exif)
