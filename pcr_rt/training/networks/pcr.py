"""The PCR network: an encoder and L progressive decoders of K context-aware modules each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pcr_rt.training.networks.cam import ContextAwareModule
from pcr_rt.training.networks.encoder import Encoder
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.networks.pyramid import FeaturePyramid

__all__ = ["PCR", "ProgressiveDecoder", "prediction_head"]


def prediction_head(in_channels: int, num_keypoints: int) -> nn.Conv2d:
    """Make the 1x1 convolution from features to heatmaps: weights from N(0, 0.001), bias 0."""
    head = nn.Conv2d(in_channels, num_keypoints, 1)
    assert head.bias is not None
    nn.init.normal_(head.weight, std=0.001)
    nn.init.zeros_(head.bias)
    return head


class ProgressiveDecoder(nn.Module):
    """One level: K context-aware modules in a row.

    ``forward`` returns the features of the penultimate module (the input itself if K = 1),
    on which the auxiliary head stands, and those of the last one.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], stride: int, se: bool, hdc: bool
    ) -> None:
        super().__init__()
        widths = [in_channels, *channels]
        self.modules_before = nn.Sequential(
            *(ContextAwareModule(a, b, stride, se, hdc) for a, b in pairwise(widths[:-1]))
        )
        self.last = ContextAwareModule(widths[-2], widths[-1], stride, se, hdc)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the penultimate and of the last module."""
        penultimate = self.modules_before(x)
        return penultimate, self.last(penultimate)


class PCR(nn.Module):
    """Progressive Context Refinement on any encoder.

    The L decoders all read the encoder's features. The last features of level l are summed with
    those of the levels before it, and a 1x1 convolution gives the heatmaps h_l (equation (2)).

    Parameters
    ----------
    encoder
        A module (N, 3, H, W) -> (N, encoder.channels, H / encoder.stride, W / encoder.stride).
    channels
        C_1 to C_K, multiples of 4; K is their number.
    levels
        L, the number of decoders.
    stride
        2: each module doubles the resolution; 1: it keeps it.
    se, hdc
        The branches of every context-aware module.
    auxiliary
        Auxiliary heads (AD), one per level, computed in training mode only.
    pyramid
        Width of a feature pyramid over the encoder's maps, which the decoders then read instead of
        the encoder's last features; 0 for none.

    ``forward`` maps (N, 3, H, W) to `PoseMaps` of L levels.
    """

    def __init__(
        self,
        encoder: Encoder,
        channels: Sequence[int] = (256, 256, 256),
        levels: int = 1,
        stride: int = 2,
        se: bool = True,
        hdc: bool = True,
        auxiliary: bool = True,
        pyramid: int = 0,
        num_keypoints: int = 17,
    ) -> None:
        super().__init__()
        if not channels or levels < 1:
            raise ValueError("PCR needs at least one context-aware module and one level")
        self.encoder = encoder
        self.pyramid = FeaturePyramid(encoder.map_channels, pyramid) if pyramid else None
        width = pyramid or encoder.channels
        self.decoders = nn.ModuleList(
            ProgressiveDecoder(width, channels, stride, se, hdc) for _ in range(levels)
        )
        self.heads = nn.ModuleList(
            prediction_head(channels[-1], num_keypoints) for _ in range(levels)
        )
        self.auxiliary_heads = nn.ModuleList(
            prediction_head([width, *channels][-2], num_keypoints)
            for _ in range(levels if auxiliary else 0)
        )

    def forward(self, x: Tensor) -> PoseMaps:
        """Return the heatmaps of all levels."""
        features = self.encoder(x) if self.pyramid is None else self.pyramid(self.encoder.maps(x))
        total: Tensor | None = None
        maps: list[Tensor] = []
        auxiliary: list[Tensor] = []
        for level, (decoder, head) in enumerate(zip(self.decoders, self.heads, strict=True)):
            penultimate, last = decoder(features)
            total = last if total is None else total + last
            maps.append(head(total))
            if self.training and len(self.auxiliary_heads):
                auxiliary.append(self.auxiliary_heads[level](penultimate))
        return PoseMaps(maps, auxiliary)
