"""What every encoder says of its features."""

from __future__ import annotations

from torch import nn

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Pictures (N, 3, H, W) -> features (N, channels, H / stride, W / stride)."""

    channels: int
    stride: int
