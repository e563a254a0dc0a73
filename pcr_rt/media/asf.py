"""What the header of a Windows Media file (ASF) says of its size and its packets."""

from __future__ import annotations

from pathlib import Path

__all__ = ["data_packets", "missing_bytes"]

FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""The object's GUID; its size (8 bytes), the file's GUID (16) and the file's size (8) follow."""
DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
"""Of the object that holds the packets, which begin 50 bytes after its beginning."""
HEADER = 1 << 16


def missing_bytes(path: Path) -> int:
    """Count the bytes that a file lacks of the size in its header; 0 if it does not say.

    FFmpeg ignores the length in the header of a file whose size is another.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER)
            there = file.seek(0, 2)
    except OSError:  # behind a URL
        return 0
    place = head.find(FILE_PROPERTIES)
    fields = head[place + 16 :]
    if place < 0 or len(fields) < 80 or fields[72] & 1:  # a broadcast has no end
        return 0
    return max(int.from_bytes(fields[24:32], "little") - there, 0)


def data_packets(head: bytes) -> tuple[int, int, int]:
    """Where the packets begin, the bytes of each, and their number; zeros if they differ in size.

    head: the beginning of the file.
    """
    fields, data = head.find(FILE_PROPERTIES), head.find(DATA)
    if min(fields, data) < 0 or len(head) < fields + 100:
        return 0, 0, 0
    count, smallest, largest = (
        int.from_bytes(head[fields + at : fields + at + size], "little")
        for at, size in ((56, 8), (92, 4), (96, 4))
    )
    return (data + 50, largest, count) if smallest == largest > 0 else (0, 0, 0)
