"""Where networks train."""

from __future__ import annotations

import torch

from pcr_rt.errors import InputError

__all__ = ["check_device"]


def check_device(name: str) -> torch.device:
    """The device ``auto`` (CUDA where PyTorch can use it), ``cpu``, ``cuda`` or ``cuda:<number>``.

    Raises InputError for another name and for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (name != "cuda" and not index.isdigit())):
        raise InputError(f"device is {name!r}; use 'auto', 'cpu', 'cuda' or 'cuda:<number>'.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device={name!r} is not there: PyTorch {torch.__version__} finds"
            f" {torch.cuda.device_count()} CUDA devices; use 'cpu', or install PyTorch for CUDA."
        )
    return torch.device(name)
