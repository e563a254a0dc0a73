"""Whether a video file has holes: bytes that its container cannot account for.

FFmpeg steps over lost, zeroed and foreign bytes between frames without a word. The formats here
are chains in which each element says where the next one begins, or has a mark or checksum.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pcr_rt.media.asf import data_packets

__all__ = ["has_hole"]

SEGMENT, CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
OTHERS = "114d9b74", "1549a966", "1654ae6b", "1c53bb6b", "1254c367", "1043a770", "1941a469"
SEGMENT_PARTS = {CLUSTER, *map(bytes.fromhex, OTHERS)}
CLUSTER_PARTS = {b"\xe7", b"\xa3", b"\xa0", b"\xa7", b"\xab", b"\xaf", b"\x58\x54"}
VOID, CHECKSUM, HEAD = b"\xec", b"\xbf", b"\x1a\x45\xdf\xa3"
MATROSKA_PARTS = {HEAD, SEGMENT, VOID, CHECKSUM} | SEGMENT_PARTS | CLUSTER_PARTS
FLV_TAGS = {8, 9, 18}
RIFF_CHUNK = re.compile(rb"[0-9A-Za-z ]{4}")
RIFF_LISTS = {b"RIFF", b"LIST"}
TS_SYNC, TS_PACKETS = 0x47, (188, 192, 204)
ASF_MARK = 0x82
"""The first byte of a packet, in the files of all common writers."""
OGG_PAGE, OGG_HEADER = b"OggS", 27
MIRRORED = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))
GIF_EXTENSION, GIF_IMAGE, GIF_END = b"!,;"


def has_hole(path: Path, form: str) -> bool:
    """Tell whether the chain of elements breaks and goes on later; form: FFmpeg's name of it.

    False for formats that are no such chain, and for what is cut at its end, except for a GIF
    that ends inside of a frame: it does not say how long it is.
    """
    walk = next((walk for name, walk in WALKS.items() if name in form.split(",")), None)
    if walk is None:
        return False
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return walk(data)
    except (OSError, ValueError):  # behind a URL, or empty
        return False


def _matroska(data: mmap.mmap) -> bool:
    place, end = 0, len(data)
    while place < end:
        name, size, inner = _element(data, place)
        if name not in MATROSKA_PARTS:
            return any(data.find(part, place) >= 0 for part in SEGMENT_PARTS)
        # Segments and clusters are looked into; live ones do not say how long they are.
        place = inner if size is None or name in (SEGMENT, CLUSTER) else inner + size
    return False


def _element(data: mmap.mmap, place: int) -> tuple[bytes, int | None, int]:
    """An EBML element's name, its size or None if it is not known, and where its content begins."""
    after = place + _length(data[place])
    if after >= len(data):
        return b"", None, len(data)
    count = _length(data[after])
    value = int.from_bytes(data[after : after + count], "big") & ((1 << (7 * count)) - 1)
    unknown = value == (1 << (7 * count)) - 1
    return data[place:after], None if unknown else value, after + count


def _length(first: int) -> int:
    """Bytes of a number of EBML by its first one: as many as there are zeros, and one."""
    return 9 - first.bit_length()


def _riff(data: mmap.mmap) -> bool:
    place, end = 0, len(data)
    while place + 8 <= end:
        name = data[place : place + 4]
        if not RIFF_CHUNK.fullmatch(name):
            return re.compile(rb"[0-9]{2}d[bc]").search(data, place) is not None
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 12 if name in RIFF_LISTS else 8 + size + size % 2
    return False


def _flv(data: mmap.mmap) -> bool:
    place, end = int.from_bytes(data[5:9], "big") + 4, len(data)
    while place + 15 <= end:
        size = 11 + int.from_bytes(data[place + 1 : place + 4], "big")
        after = place + size + 4
        before = int.from_bytes(data[place + size : after], "big")
        if after < end and (
            data[place] & 0x1F not in FLV_TAGS or before not in (size, size - 11, 0)
        ):
            return True
        place = after
    return False


def _transport(data: mmap.mmap) -> bool:
    start = data.find(bytes([TS_SYNC]))
    for size in TS_PACKETS:
        if all(data[start + k * size : start + k * size + 1] == b"\x47" for k in range(3)):
            return _loses(data, start, size, TS_SYNC)
    return False


def _asf(data: mmap.mmap) -> bool:
    start, size, count = data_packets(data[: 1 << 20])
    marked = bool(count) and data[start : start + 1] == bytes([ASF_MARK])
    return marked and _loses(data, start, size, ASF_MARK, count)


def _loses(data: mmap.mmap, start: int, size: int, mark: int, count: int | None = None) -> bool:
    """Whether a packet of ``size`` bytes does not begin with the mark, and a later one does."""
    found = np.array(np.frombuffer(data, np.uint8)[start::size][:count] == mark)
    lost = np.flatnonzero(~found)
    return bool(len(lost)) and bool(found[lost[0] :].any())


def _ogg(data: mmap.mmap) -> bool:
    place, numbers = 0, dict[bytes, int]()
    while place + OGG_HEADER <= len(data):
        if data[place : place + 4] != OGG_PAGE:
            return data.find(OGG_PAGE, place) >= 0
        serial, number = data[place + 14 : place + 18], data[place + 18 : place + 22]
        count = int.from_bytes(number, "little")
        if numbers.get(serial, count - 1) != count - 1 and not data[place + 5] & 2:
            return True
        numbers[serial] = count
        parts = data[place + OGG_HEADER : place + OGG_HEADER + data[place + 26]]
        end = place + OGG_HEADER + len(parts) + sum(parts)
        if end <= len(data) and not _is_sound_page(data[place:end]):
            return True
        place = end
    return False


def _is_sound_page(page: bytes) -> bool:
    """Check its CRC-32, which begins with 0 and is not mirrored as that of zlib is."""
    plain = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED)
    crc = zlib.crc32(plain, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(MIRRORED) == page[22:26]


def _gif(data: mmap.mmap) -> bool:
    place, end = 13 + _colours(data[10]), len(data)
    while place < end and data[place] != GIF_END:
        kind = data[place]
        if kind == GIF_EXTENSION:
            place += 2
        elif kind == GIF_IMAGE and place + 10 < end:
            place += 11 + _colours(data[place + 9])
        else:
            return True
        while place < end and data[place]:
            place += 1 + data[place]
        place += 1
    return place > end


def _colours(flags: int) -> int:
    """Bytes of the table of colours that follows."""
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0


WALKS: dict[str, Callable[[mmap.mmap], bool]] = {
    "matroska": _matroska,
    "avi": _riff,
    "flv": _flv,
    "mpegts": _transport,
    "ogg": _ogg,
    "asf": _asf,
    "gif": _gif,
}
