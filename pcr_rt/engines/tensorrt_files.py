"""Files of the engine cache: a private folder, whole files, one writer at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pcr_rt.errors import InputError
from pcr_rt.outputs import replace_whole

if sys.platform != "win32":
    import fcntl

__all__ = ["cache_folder", "locked", "write_private"]

log = logging.getLogger(__name__)


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder of built engines, made if need be; nobody else can write to it.

    An engine is code, so a folder of another user is refused. Default: below XDG_CACHE_HOME.
    """
    base = Path(cache_dir or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (base if cache_dir else base / "pcr-rt") / "engines"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform != "win32":
            if folder.stat().st_uid != os.getuid():
                raise InputError(
                    f"The engine cache {folder} belongs to another user, who could put code into"
                    " it: give a folder of your own with cache_dir."
                )
            folder.chmod(0o700)
    except OSError as error:
        raise _refused(folder, error) from None
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file, readable by its owner alone, that is whole or not there.

    Raises InputError where it cannot be written: no permission, no space.
    """
    try:
        replace_whole(path, content, permissions=0o600, sync=True)
    except OSError as error:
        raise _refused(path, error) from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; waits for another process or thread that holds it.

    The lock goes with its process, so a killed build leaves none behind. Windows has none: there
    two processes may build the same engine, and the last one's file stays.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _refused(path, error) from None
    try:
        if sys.platform != "win32":
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("Another process builds %s: waiting for it", path.stem)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refused(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written: {error.strerror}. Give another folder for engines with"
        " cache_dir, or --cache-dir."
    )
