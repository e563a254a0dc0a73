"""What every pose network of the project returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["PoseMaps"]


class PoseMaps(NamedTuple):
    """Heatmaps of one forward pass.

    Attributes
    ----------
    levels
        h_1 to h_L, each (N, K, h, w); the last one is the prediction.
    auxiliary
        Maps of the auxiliary heads (AD), each at its own resolution; empty outside training or
        where a network has none.
    """

    levels: list[Tensor]
    auxiliary: list[Tensor]
