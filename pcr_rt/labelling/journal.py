"""A journal of finished work: one JSON line per piece, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from pcr_rt.errors import DataError

__all__ = ["Journal"]

log = logging.getLogger(__name__)


class Journal:
    """Lines appended to a file, from which a killed and restarted process continues.

    The first line is the header, what the work is about; a journal with another header is refused.
    A last line that a kill cut short is removed. entries: what earlier processes and this one have
    written. While it is open a lock file (``.<name>.lock``) keeps other processes out; the file
    itself stays. Raises DataError if the journal cannot be read or written, is something else, or
    is being written by another process.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        with contextlib.ExitStack() as on_failure:
            try:
                self._file = on_failure.enter_context(path.open("ab", buffering=0))
                self._take_lock()
                on_failure.callback(self._lock.release)
                self.entries = self._read(header)
            except OSError as error:
                raise DataError(f"{path} cannot be written: {error.strerror}.") from None
            on_failure.pop_all()

    def _take_lock(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DataError(
                f"Another process writes {self.path}: wait for it, or name another output."
            ) from None
        except OSError as error:  # some network folders have no locks
            log.info("%s cannot be locked: %s", self.path, error.strerror)

    def _read(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the entries of the same work; a file of anything else is left as it is."""
        before, first = self.path.read_bytes(), json.dumps(header).encode() + b"\n"
        whole = before[: before.rfind(b"\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except (ValueError, RecursionError):
            lines = []
        if not all(isinstance(line, dict) for line in lines):
            raise DataError(f"{self.path} is damaged: remove it to start anew.")
        if not lines and not first.startswith(before):
            raise DataError(f"{self.path} is no journal of PCR-RT: move it away.")
        if lines and lines[0] != json.loads(first):
            raise DataError(
                f"{self.path} belongs to a run of other images or with other options: name another"
                " output, or remove the journal to start anew."
            )
        self._file.truncate(len(whole))
        if not lines:
            self._write(header)
        return lines[1:]

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a piece of work; once this returns, a kill of the process does not lose it."""
        self._write(entry)
        self.entries.append(dict(entry))

    def _write(self, entry: Mapping[str, Any]) -> None:
        data = json.dumps(entry).encode() + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
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
        self._lock.release()
