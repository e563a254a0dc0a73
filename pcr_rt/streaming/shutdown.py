"""Finish files however the program ends."""

from __future__ import annotations

import atexit
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

__all__ = ["closed_at_exit", "terminated_properly"]


class Closes(Protocol):
    """Something with a ``close``."""

    def close(self) -> None:
        """Finish."""


@contextmanager
def terminated_properly() -> Iterator[None]:
    """Let SIGTERM end the program like sys.exit, unless it has a handler: files are finished."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def closed_at_exit(stream: Closes) -> Iterator[None]:
    """Close a stream when the program ends, if its loop was left without closing it."""
    alive = weakref.ref(stream)

    def close() -> None:
        if (left := alive()) is not None:
            left.close()

    atexit.register(close)
    try:
        yield
    finally:
        atexit.unregister(close)
