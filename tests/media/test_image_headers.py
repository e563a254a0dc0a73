from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.media import read_image
from pcr_rt.media.image_headers import image_size, is_heif


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".gif", ".bmp", ".jp2", ".tif", ".ppm", ".pgm", ".ras"]
)
def test_sizes_are_those_of_the_decoder(suffix: str) -> None:
    image = np.zeros((40, 56) if suffix == ".pgm" else (40, 56, 3), np.uint8)
    data = cv2.imencode(suffix, image)[1].tobytes()
    assert image_size(data) == (56, 40)


def test_progressive_and_thumbnails() -> None:
    image = np.zeros((40, 56, 3), np.uint8)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert image_size(data) == (56, 40)
    small = cv2.imencode(".jpg", image[:8, :8])[1].tobytes()
    body = b"Exif" + small
    app1 = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    assert image_size(data[:2] + app1 + data[2:]) == (56, 40)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG", b"P6\n", b"II*\0", b"BM", b"\xff\xd8\xff", b"MM\0*"]
)
def test_headers_that_are_not_there(data: bytes) -> None:
    assert image_size(data) is None


def test_no_memory_is_taken_for_what_a_header_claims(tmp_path: Path) -> None:
    """A few hundred bytes claim 30,000 x 30,000 pixels, as OpenCV would allow."""
    png = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        png += struct.pack(">I", len(body)) + kind + body
        png += struct.pack(">I", zlib.crc32(kind + body))
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", 60_000, 60_000)
    for name, data in (("bomb.png", png), ("bomb.jpg", bytes(jpeg))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=r"claims [36]0000x[36]0000 pixels"):
            read_image(tmp_path / name)


def test_heif_is_told_by_its_brand() -> None:
    assert is_heif(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic")
    assert is_heif(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic")
    assert not is_heif(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1")
    assert not is_heif(b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif")
    assert not is_heif(b"\0\0\0\x20ftypisom\0\0\0\0")
