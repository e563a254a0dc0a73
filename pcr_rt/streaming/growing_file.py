"""A text file that can be read at any time while it is written."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from pcr_rt.outputs import cannot_write, make_folder

__all__ = ["GrowingFile"]


class GrowingFile:
    """A text file that is complete after every append and is cut back to that if one fails.

    What an earlier run left there stays until the first append; without one no file is made.
    """

    def __init__(self, path: Path, head: str = "", tail: str = "") -> None:
        make_folder(path.parent)
        self.path, self._head, self._tail = path, head.encode(), tail.encode()
        self._made, self._end, self.used = not path.exists(), 0, False
        self.closed = False
        self._file = self._open("xb" if self._made else "r+b")
        if self._made:
            self._write(self._head + self._tail)

    def _open(self, mode: str) -> IO[bytes]:
        try:
            return self.path.open(mode, buffering=0)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def append(self, text: str) -> None:
        """Write the text before the tail, at once; InputError where the system refuses."""
        data = text.encode()
        if not self.used:  # from here on what an earlier run left is gone
            self._file.close()
            self._file, data = self._open("wb"), self._head + data
            self.used = True
        try:
            self._write(data + self._tail)
        except OSError as error:
            self._file.truncate(self._end)
            self._write(self._tail)
            raise cannot_write(self.path, error) from None
        self._end += len(data)

    def _write(self, data: bytes) -> None:
        self._file.seek(self._end)
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Without an append there will be no file, as with videos."""
        self.closed = True
        self._file.close()
        if self._made and not self.used:
            self.path.unlink(missing_ok=True)
