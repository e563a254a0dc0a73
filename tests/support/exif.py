"""JPEGs that a camera held otherwise has written."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray


def exif_jpeg(image: NDArray[np.uint8], orientation: int, thumbnail: bool = False) -> bytes:
    """A JPEG with an APP1 segment that holds one EXIF tag, and maybe another JPEG."""
    data = cv2.imencode(".jpg", image)[1].tobytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    body += data if thumbnail else b""
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
