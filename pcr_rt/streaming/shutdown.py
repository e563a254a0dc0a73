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

__all__ = ["closed_at_exit", "finished_first", "terminated_properly"]


class Closes(Protocol):
    """Something with a ``close``."""

    def close(self) -> None:
        """Finish."""


@contextmanager
def terminated_properly() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program like sys.exit, unless they have handlers.

    So files are finished, also when the terminal is closed.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    ours = [n for n in numbers if n is not None and signal.getsignal(n) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def finished_first() -> Iterator[list[int]]:
    """Let Ctrl-C wait for the end of the block, which then raises KeyboardInterrupt.

    So a file and the line that names it are both written, or neither. What the block is given is
    no longer empty when Ctrl-C came.
    """
    heard: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        yield heard
        return
    signal.signal(signal.SIGINT, wait)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if heard:
        raise KeyboardInterrupt


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
