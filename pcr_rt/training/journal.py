"""A journal of finished work: one JSON line a piece, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pcr_rt.errors import DataError

__all__ = ["Journal"]


class Journal:
    """Lines appended to a file, which a killed and restarted process goes on with.

    The first line is the header, what the work is about; a journal with another header is refused.
    A last line that a kill cut short is removed. entries: what earlier processes and this one have
    written. Raises DataError where the file cannot be read or written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        try:
            before = path.read_bytes() if path.exists() else b""
            whole = before[: before.rfind(b"\n") + 1]
            self._file = path.open("r+b" if path.exists() else "wb")
            self._file.truncate(len(whole))
            self._file.seek(len(whole))
            lines = [json.loads(line) for line in whole.splitlines()]
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}.") from None
        except ValueError:
            raise DataError(f"{path} is no journal of PCR-RT: move it away.") from None
        if lines and lines[0] != json.loads(json.dumps(header)):
            self._file.close()
            raise DataError(
                f"{path} belongs to a labelling with other options: name another output, or remove"
                " the journal to start anew."
            )
        self.entries: list[dict[str, Any]] = lines[1:]
        if not lines:
            self._write(header)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a piece of work; once this returns, a kill of the process does not lose it."""
        self._write(entry)
        self.entries.append(dict(entry))

    def _write(self, entry: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written ({error.strerror}): make room; the same command"
                " goes on from there."
            ) from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
