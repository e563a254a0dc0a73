"""One finding of the doctor, and what its checks share."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Status", "find_module", "one_line"]

Status = Literal["ok", "missing", "warning", "error"]


@dataclass(frozen=True)
class Check:
    """One finding.

    status: ``ok``; ``missing``: an optional package is not there; ``warning``: it works, but not
    as one would expect; ``error``: PCR-RT does not work. remedy: what to do, often a command;
    empty if nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def find_module(name: str) -> bool:
    """Find out whether there is a module of that name, without importing it."""
    return importlib.util.find_spec(name) is not None


def one_line(error: Exception) -> str:
    """Return an error's text on one line."""
    return " ".join(f"{error}".split()) or type(error).__name__
