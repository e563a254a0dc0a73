"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import torch

from pcr_rt.errors import DataError

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path``; the file that was there stays until the new one is complete.

    Raises DataError when the folder cannot be written or the disk is full.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise DataError(
            f"The checkpoint {path} could not be written ({error}); the last good one is kept."
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint (``weights_only=True``). Raises DataError when it is broken."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"The checkpoint {path} does not exist.") from None
    except Exception as error:
        # torch's own message goes on for a page and advises to load the file as code.
        raise DataError(
            f"The checkpoint {path} cannot be read: it is broken, or no checkpoint of PCR-RT."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"The file {path} is no checkpoint of PCR-RT: give the best.pt of a run.")
    return content
