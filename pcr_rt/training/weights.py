"""Weights that a network starts from: another run's, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints import load_checkpoint

__all__ = ["fill", "load_encoder", "load_start"]

NAMED = 5
"""How many keys of a kind an error message lists."""


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy ``tensors`` into the parameters and buffers of the same names; all must fit.

    source: what the message calls the tensors. Raises DataError with the missing, unexpected and
    misshaped keys, and leaves the network as it was.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in tensors]
    unexpected = [key for key in tensors if key not in own]
    misshaped = [
        f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshaped": misshaped}
    problems = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in kinds.items() if keys]
    if problems:
        raise DataError(
            f"The weights of {source} are not of this network, its keys differ:"
            f" {'; '.join(problems)}; give a file of the same architecture."
        )
    network.load_state_dict(tensors)


def load_start(network: nn.Module, path: Path) -> None:
    """Fill the network from a run: its ``best.pt``, or the folder that holds one.

    Raises DataError when the file cannot be read or is of another network.
    """
    file = path / "best.pt" if path.is_dir() else path
    content = load_checkpoint(file)
    tensors = content.get("average", content.get("network"))
    if not isinstance(tensors, dict):
        raise DataError(f"{file} is no checkpoint of a run: give a best.pt or its folder.")
    fill(network, tensors, str(file))


def load_encoder(network: nn.Module, source: str, data: Path) -> None:
    """Start the encoder from ``source``: "imagenet", or a PP-TinyPose ONNX file in ``data``."""
    encoder: Any = network.get_submodule("encoder")
    if source == "imagenet":
        from pcr_rt.training.networks.efficientnet import load_imagenet

        load_imagenet(encoder)
    else:
        from pcr_rt.training.networks.lite_hrnet import load_tinypose

        load_tinypose(encoder, data / source)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")
