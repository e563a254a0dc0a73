"""How crops enter the network: their pixel convention and normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Input", "normalise"]


@dataclass(frozen=True)
class Input:
    """How crops enter the network."""

    transform: Literal["udp", "msra"] = "udp"
    """The pixel convention of crops and heatmaps; that of the model in ``start``."""
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """RGB, in grey levels 0 to 255."""
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    """RGB, in grey levels 0 to 255."""


def normalise(images: Tensor, crops: Input) -> Tensor:
    """Turn images (N, 3, H, W), RGB 0..255, into the network's input of the same shape."""
    mean = torch.tensor(crops.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(crops.std, device=images.device).view(1, 3, 1, 1)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
