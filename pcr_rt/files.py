"""Write files that are whole or not there, never over one that is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from pcr_rt.errors import InputError

__all__ = [
    "GrowingFile",
    "cannot_write",
    "check_json_output",
    "fitting_name",
    "make_folder",
    "refuse_inputs",
    "replace_whole",
    "write_whole",
]


LONGEST_NAME = 240
"""Bytes; file systems take 255, and files that are being written have a longer name."""


def refuse_inputs(output: Path, *inputs: Path) -> None:
    """Raise InputError if writing ``output`` would destroy one of the inputs."""
    for given in inputs:
        try:
            same = output.samefile(given)
        except OSError:  # one of them does not exist
            continue
        if same:
            raise InputError(f"{output} is read and would be overwritten: name another output.")


def check_json_output(output: Path) -> None:
    """Raise InputError unless ``output`` names a .json file in a folder that exists."""
    if output.is_dir() or not output.parent.is_dir() or output.suffix != ".json":
        raise InputError(f"{output} cannot be written: name a .json file in a folder that exists.")


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there; InputError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None


def fitting_name(stem: str, ending: str) -> str:
    """Join a stem and an ending, the stem cut to what file systems take."""
    while stem and len(os.fsencode(stem + ending)) > LONGEST_NAME:
        stem = stem[:-1]
    return stem + ending


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole; an InputError leaves it as it was."""
    try:
        replace_whole(path, content)
    except OSError as error:
        raise cannot_write(path, error) from None


def replace_whole(
    path: Path,
    content: bytes | Callable[[IO[bytes]], object],
    *,
    permissions: int = 0o666,
    sync: bool = False,
) -> None:
    """Put a file in place when it is complete; an error leaves what was there.

    content: the bytes, or what writes them to an open file. permissions: before the process's
    mask. sync: wait until it is on the disk.
    """
    part = path.with_name(f".{fitting_name(path.name, f'.{os.getpid()}.part')}")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, permissions)) as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def cannot_write(path: Path, error: OSError) -> InputError:
    """Make the error for a place that the system refuses."""
    return InputError(f"{path} cannot be written ({error.strerror}): give another place.")


class GrowingFile:
    """Write a text file that is complete after every append, and cut back to that if one fails.

    The file of an earlier run stays until the first append; without an append no file is made.
    Raises InputError if the place cannot be written.
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
        """Write the text before the tail, at once; InputError if the system refuses."""
        data = text.encode()
        if not self.used:  # from here on the file of an earlier run is gone
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
        """Finish; without an append there will be no file, as with videos."""
        self.closed = True
        self._file.close()
        if self._made and not self.used:
            self.path.unlink(missing_ok=True)
