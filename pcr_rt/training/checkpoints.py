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
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"The checkpoint {path} does not exist.") from None
    except Exception as error:
        raise DataError(f"The checkpoint {path} cannot be read: {error}") from error
    return content
