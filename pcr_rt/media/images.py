"""Images from files and folders."""

from __future__ import annotations

import logging
import re
import stat
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.files import write_whole
from pcr_rt.media.image_headers import avif_turn, image_size, is_complete, is_heif
from pcr_rt.media.video_reader import is_video

__all__ = [
    "IMAGE_SUFFIXES",
    "can_write",
    "in_order",
    "is_image",
    "list_images",
    "read_image",
    "write_image",
]

log = logging.getLogger(__name__)

MAX_PIXELS = 1 << 28
"""Larger images take more memory than a machine may have; a damaged header claims any size."""
SMALL, DENSEST = 1 << 24, 4096
"""Pixels that are decoded in any case, and the most that a byte of a real file stands for."""
MAX_BYTES = 1 << 31
SENSOR_BITS = (8, 10, 12, 14)
"""Depths that cameras and scanners store in the low bits of 16."""


def _readable() -> set[str]:
    always = {".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".webp"}
    always |= {".tif", ".tiff", ".pbm", ".pgm", ".pnm", ".ppm", ".heic", ".heif"}
    return always | {s for s in (".avif", ".gif", ".jp2") if can_write(s)}


def can_write(suffix: str) -> bool:
    """Tell whether this OpenCV writes images with such a suffix."""
    return cv2.haveImageWriter(f"image{suffix}")


IMAGE_SUFFIXES = _readable()
"""Of what `read_image` reads; HEIC needs the package pillow-heif."""


def is_image(path: str | Path) -> bool:
    """Tell by its name whether a file is an image; an animated GIF is a video."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES and not is_video(path)


def read_image(path: str | Path, *, ignore_exif: bool = False) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 BGR, turned upright as its EXIF orientation says.

    Grey becomes BGR, transparency is dropped, and 16 bits become 8: those of 10, 12 or 14 bits are
    scaled by their own depth, as a warning says. ignore_exif: leave it as it is stored. Raises
    InputError if the file is missing, cut short, no image or larger than 2^28 pixels.
    """
    data = _read_bytes(path)
    if not is_complete(data):
        raise InputError(f"The image {path} is cut short: copy or download it again.")
    width, height = image_size(data) or (0, 0)
    if width * height > min(MAX_PIXELS, max(SMALL, DENSEST * len(data))):
        raise InputError(
            f"The image {path} claims {width}x{height} pixels in {len(data)} bytes: it is damaged,"
            " or larger than 2^28 pixels."
        )
    image = _from_heif(path, data) if is_heif(data) else _decode(data, ignore_exif)
    if image is None:
        raise InputError(
            f"The file {path} is no image that OpenCV reads, or a damaged one: give a JPEG, PNG,"
            " WebP, BMP or TIFF."
        )
    if image.dtype == np.uint16:
        image = _to_8_bits(image, path)
    return np.ascontiguousarray(image, dtype=np.uint8)


def _read_bytes(path: str | Path) -> bytes:
    try:
        about = Path(path).stat()
        if stat.S_ISREG(about.st_mode) and about.st_size < MAX_BYTES:
            return Path(path).read_bytes()
        problem = "it is no file" if not stat.S_ISREG(about.st_mode) else "it is larger than 2 GiB"
    except (OSError, ValueError) as error:  # a name may hold what no system takes
        problem = getattr(error, "strerror", None) or str(error)
    raise InputError(f"The image {path!s} cannot be opened ({problem}): check its name.")


def _decode(data: bytes, ignore_exif: bool) -> NDArray[Any] | None:
    """uint8 or uint16 BGR; None for what is no image."""
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if ignore_exif else 0)
    buffer = np.frombuffer(data, np.uint8)
    image: NDArray[Any] | None = None
    with suppress(cv2.error):  # no bytes, or more pixels than OpenCV allows
        image = cv2.imdecode(buffer, flags | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        image = None
        with suppress(cv2.error):
            image = cv2.imdecode(buffer, flags)
    if image is not None and not ignore_exif:
        turns, mirror = avif_turn(data)
        image = np.rot90(image, turns)
        image = image if mirror is None else np.flip(image, mirror)
    return image


def _from_heif(path: str | Path, data: bytes) -> NDArray[Any]:
    """The whole image; FFmpeg would give a single tile of those of phones."""
    try:
        import pillow_heif
    except ImportError:
        raise InputError(
            f"The image {path} is HEIC: run pip install pillow-heif, or convert it to JPEG."
        ) from None
    try:
        image = pillow_heif.open_heif(data, convert_hdr_to_8bit=True, bgr_mode=True)
        if image.size[0] * image.size[1] > MAX_PIXELS:
            raise ValueError(f"it claims {image.size[0]}x{image.size[1]} pixels")
        pixels = np.asarray(image)
    except (ValueError, OSError, RuntimeError, SyntaxError, EOFError) as error:
        raise InputError(
            f"The image {path} is damaged ({' '.join(str(error).split())}): copy it again."
        ) from None
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], -1)[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def _to_8_bits(image: NDArray[np.uint16], path: str | Path) -> NDArray[np.uint8]:
    """Divide by the largest value of the smallest usual depth that holds all of them."""
    used = int(image.max(initial=0)).bit_length()
    bits = next((b for b in SENSOR_BITS if 0 < used <= b), 16)
    if bits == 16:
        return (image >> 8).astype(np.uint8)
    _say_depth(bits, str(path))
    scaled: NDArray[np.uint8] = np.rint(image * np.float32(255 / ((1 << bits) - 1))).astype(
        np.uint8
    )
    return scaled


_SAID: set[int] = set()


def _say_depth(bits: int, path: str) -> None:
    if bits not in _SAID:
        _SAID.add(bits)
        log.warning(
            "%s has 16 bits of which %d are used: such images are scaled by that", path, bits
        )


def write_image(path: str | Path, image: NDArray[np.uint8], *, quality: int = 95) -> None:
    """Write an image (H, W, 3) uint8 BGR in the format of the name's suffix.

    quality: of a JPEG. Raises InputError if it cannot be written or is too large for the format;
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
            f"An image of {image.shape[1]}x{image.shape[0]} cannot be written to {path}: name"
            " another format."
        )
    write_whole(path, data.tobytes())


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths as people number them: 1, 2, 10."""

    def key(path: Path) -> tuple[list[tuple[int, str]], str]:
        # Numbers stand at every second place, so like is compared with like.
        parts = re.split("([0-9]+)", str(path))
        return [(int(p), "") if i % 2 else (0, p) for i, p in enumerate(parts)], str(path)

    return sorted(paths, key=key)


def list_images(folder: str | Path) -> list[Path]:
    """List the images of a folder, in order of name; raise InputError if there are none.

    A warning counts what is left out by its suffix, hidden files aside: some systems keep a file
    of their own beside each image.
    """
    try:
        files = [p for p in Path(folder).iterdir() if not p.name.startswith(".") and p.is_file()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The folder {folder} cannot be read: {reason}.") from None
    images = in_order(file for file in files if is_image(file))
    if not images:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"The folder {folder} has no images: put some there ({kinds}).")
    left_out = Counter(p.suffix.lower() or "no suffix" for p in files) - Counter(
        p.suffix.lower() for p in images
    )
    if left_out:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left_out.items()))
        log.warning("%s: %d images; left out: %s", folder, len(images), kinds)
    return images
