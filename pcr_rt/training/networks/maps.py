"""What every pose network of the project returns, and at which size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pcr_rt.geometry import Size

__all__ = ["PoseMaps", "heatmap_size", "size_of"]


class PoseMaps(NamedTuple):
    """Heatmaps of one forward pass.

    Attributes
    ----------
    levels
        h_1 to h_L, each (N, K, h, w); the last one is the prediction.
    auxiliary
        Maps of the auxiliary heads (AD), each at its own resolution; empty outside training and
        for a network that has none.
    """

    levels: list[Tensor]
    auxiliary: list[Tensor]

    def sizes(self) -> set[Size]:
        """Return the sizes (w, h) that occur among the maps."""
        return {size_of(maps) for maps in (*self.levels, *self.auxiliary)}


def size_of(maps: Tensor) -> Size:
    """Return (w, h) of maps (N, K, h, w)."""
    return maps.shape[-1], maps.shape[-2]


def heatmap_size(network: nn.Module, size: Size) -> Size:
    """Return (w, h) of the heatmaps of a network in evaluation mode for an input (w, h)."""
    device = next(network.parameters()).device
    with torch.no_grad():
        return size_of(network(torch.zeros(1, 3, size[1], size[0], device=device)).levels[-1])
