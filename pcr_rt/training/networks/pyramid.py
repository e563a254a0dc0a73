"""A feature pyramid: an encoder's maps of several resolutions as one of the finest resolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FeaturePyramid"]


class FeaturePyramid(nn.Module):
    """Maps from fine to coarse, each half as large as the one before, -> (N, width, H, W) of the
    finest one.

    After Lin et al., "Feature Pyramid Networks" (2017), with separable convolutions: every map is
    projected to ``width``; from the coarsest one upwards the result so far is upsampled, added and
    smoothed.
    """

    def __init__(self, map_channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
            for channels in map_channels
        )
        self.smooth = nn.ModuleList(_separable(width) for _ in map_channels[1:])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Merge the maps into one of the finest resolution."""
        x: Tensor = F.relu(self.project[-1](maps[-1]))
        for level in range(len(maps) - 2, -1, -1):
            up = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.smooth[level](up + self.project[level](maps[level]))
        return x


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
