"""What the bytes of an image file say before they are decoded: format, size, whether they end."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from pcr_rt.geometry import Size

__all__ = ["avif_turn", "image_size", "is_complete", "is_heif"]

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the segments that hold the size."""
MAX_PROPERTIES = 1 << 16
TIFF_WIDTH, TIFF_HEIGHT, TIFF_SHORT = 256, 257, 3


def is_heif(data: bytes) -> bool:
    """Tell whether this is HEIC or HEIF, as phones write it, under whatever name."""
    return data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS and b"avif" not in data[8:32]


def avif_turn(data: bytes) -> tuple[int, int | None]:
    """How an AVIF is to be shown: quarter turns anticlockwise, then mirrored top to bottom (0),
    left to right (1) or not (None).

    OpenCV leaves both out; EXIF says nothing in this format.
    """
    if data[4:8] != b"ftyp" or b"avif" not in data[8:32]:
        return 0, None
    turn, mirror = (
        re.search(rb"\0\0\0\x09" + kind + rb"(.)", data[:MAX_PROPERTIES], re.DOTALL)
        for kind in (b"irot", b"imir")
    )
    return turn[1][0] & 3 if turn else 0, mirror[1][0] & 1 if mirror else None


def is_complete(data: bytes) -> bool:
    """False if the end of a JPEG, PNG or WebP is missing; decoders would make it up."""
    if data.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" in data
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    if not data.startswith(b"\xff\xd8"):
        return True
    # A thumbnail in the header has an end mark of its own: step over the header's segments.
    ends = [2, *(end for _, _, end in _jpeg_segments(data))]
    return data.find(b"\xff\xd9", ends[-1]) >= 0


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of each segment before the pixels; the begin is that of its length."""
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        if data[position + 1 : position + 2] == b"\xff":  # a marker may be filled up with these
            position += 1
            continue
        begin = position + 2
        end = begin + int.from_bytes(data[begin : begin + 2], "big")
        yield int.from_bytes(data[position + 1 : begin], "big"), begin, end
        position = end


def image_size(data: bytes) -> Size | None:
    """The (width, height) that the header claims; None if it is not understood.

    Not of WebP and AVIF, whose formats or libraries have a limit of their own.
    """
    try:
        return _size(data)
    except (struct.error, ValueError):
        return None


def _size(data: bytes) -> Size | None:
    if data.startswith(b"\x89PNG"):
        width, height = struct.unpack_from(">II", data, 16)
    elif data.startswith(b"GIF8"):
        width, height = struct.unpack_from("<HH", data, 6)
    elif data.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", data, 18)
    elif data[4:8] == b"jP  ":
        width, height = struct.unpack_from(">II", data, data.index(b"ihdr") + 4)[::-1]
    elif data.startswith(b"\xff\x4f\xff\x51"):  # JPEG 2000 without its box
        width, height = struct.unpack_from(">II", data, 8)
    elif data.startswith(b"\x59\xa6\x6a\x95"):
        width, height = struct.unpack_from(">II", data, 4)
    elif data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff_size(data)
    elif found := re.match(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s+(\d{1,9})\s", data[:4096]):
        width, height = map(int, found.groups())
    else:
        return None
    return abs(width), abs(height)


def _jpeg_size(data: bytes) -> Size | None:
    for marker, begin, _ in _jpeg_segments(data):
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, begin + 3)
            return width, height
    return None


def _tiff_size(data: bytes) -> Size | None:
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    found = {}
    for number in range(min(count, 512)):
        entry = place + 2 + 12 * number
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (TIFF_WIDTH, TIFF_HEIGHT):
            form = "H" if kind == TIFF_SHORT else "I"
            (found[tag],) = struct.unpack_from(f"{order}{form}", data, entry + 8)
    return (found[TIFF_WIDTH], found[TIFF_HEIGHT]) if len(found) == 2 else None
