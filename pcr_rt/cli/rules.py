"""What holds for every verb: Ctrl-C, and flags in the help."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group", "stops_properly"]

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended: 128 + SIGINT."""

P = ParamSpec("P")
R = TypeVar("R")


def stops_properly(verb: Callable[P, R]) -> Callable[P, R]:
    """Let Ctrl-C end a verb with a word at once, one line at the end and the exit code 130.

    A verb finishes its files and raises KeyboardInterrupt, with what is to be said of them.
    """

    @functools.wraps(verb)
    def stopping(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _heard_at_once():
                return verb(*args, **kwargs)
        except KeyboardInterrupt as stop:
            words = f": {stop}" if stop.args else ""
            sys.stderr.write(f"stopped by Ctrl-C{words}\n")
        raise SystemExit(INTERRUPTED)

    return stopping


@contextmanager
def _heard_at_once() -> Iterator[None]:
    """Answer Ctrl-C within moments, though what is under way may take seconds more.

    Python runs its own handlers between two steps of the main thread, which may be far apart; what
    the signal writes to a pipe is read by another thread. Only the main thread gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def answer() -> None:
        while number := os.read(reading, 1):
            if number[0] == signal.SIGINT:
                sys.stderr.write("\nstopping: what is under way is finished first\n")
                sys.stderr.flush()
                return

    answering = threading.Thread(target=answer, name="pcr-rt Ctrl-C", daemon=True)
    answering.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        answering.join(1)  # a forked process may still hold the pipe
        os.close(reading)


class _PlainFlags:
    """Flags take no value, so the help names no type for them."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class Command(_PlainFlags, TyperCommand):
    """A verb."""


class Group(_PlainFlags, TyperGroup):
    """All verbs."""
