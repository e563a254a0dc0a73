"""The Lite-HRNet-style encoder of PP-TinyPose: shuffle units at up to four resolutions in parallel.

Architecture after Yu et al., "Lite-HRNet: A Lightweight High-Resolution Network" (2021), in its
"naive wider" form: plain shuffle units without conditional channel weighting. The published
weights have their batch norms folded in, so every layer here is a convolution with a bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from os import PathLike

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcr_rt.errors import ModelError
from pcr_rt.training.networks.convolutions import fill_convolutions, published_convolutions
from pcr_rt.training.networks.encoder import Encoder

__all__ = ["LiteHRNetEncoder", "load_tinypose"]

_WIDTHS = (40, 80, 160, 320)
# Stage s runs on s + 2 resolutions; so many modules has each.
_MODULES_PER_STAGE = (2, 4, 2)


def _pointwise(in_channels: int, out_channels: int, relu: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 1)
    return nn.Sequential(conv, nn.ReLU()) if relu else nn.Sequential(conv)


def _depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels)


def _separable(
    in_channels: int, out_channels: int, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    return nn.Sequential(
        _depthwise(in_channels, stride), *_pointwise(in_channels, out_channels, relu)
    )


def _interleave(a: Tensor, b: Tensor) -> Tensor:
    """Concatenate two halves and shuffle in two groups: channels a0, b0, a1, b1, ..."""
    if torch.onnx.is_in_onnx_export():
        # The fewest nodes: each channel's rows of both halves below each other are, in memory, two
        # channels.
        n, c, h, w = a.shape
        return torch.cat((a, b), dim=2).reshape(n, 2 * c, h, w)
    # The result has all channels of a pixel side by side in memory, as the convolutions want it.
    pixels = torch.stack((a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)), dim=-1).flatten(-2)
    return pixels.permute(0, 3, 1, 2)


class _Stem(nn.Module):
    """(N, 3, H, W) -> (N, 32, H/4, W/4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 32, 3, 2, padding=1), nn.ReLU())
        self.short = _separable(16, 16, stride=2)
        self.long = nn.Sequential(*_pointwise(16, 32), *_separable(32, 16, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x).chunk(2, dim=1)
        return _interleave(self.short(a), self.long(b))


class _ShuffleUnit(nn.Module):
    """One half of the channels passes, the other is convolved; then both are interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(*_pointwise(half, half), *_separable(half, half))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return _interleave(a, self.branch(b))


def _downsampling(in_channels: int, out_channels: int, times: int) -> nn.Sequential:
    """So many separable convolutions of stride 2; the last one widens and has no ReLU."""
    steps = [_separable(in_channels, in_channels, stride=2) for _ in range(times - 1)]
    return nn.Sequential(*steps, _separable(in_channels, out_channels, stride=2, relu=False))


class _Module(nn.Module):
    """Two shuffle units on each branch, then every branch receives the sum of all."""

    def __init__(self, branches: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            nn.Sequential(_ShuffleUnit(c), _ShuffleUnit(c)) for c in _WIDTHS[:branches]
        )
        # fuse[i][j] brings branch j to the width of branch i, and a finer one to its resolution.
        self.fuse = nn.ModuleList(
            nn.ModuleList(self._exchange(j, i) for j in range(branches)) for i in range(branches)
        )

    @staticmethod
    def _exchange(source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source < target:
            return _downsampling(_WIDTHS[source], _WIDTHS[target], target - source)
        return _pointwise(_WIDTHS[source], _WIDTHS[target], relu=False)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        maps = [units(x) for units, x in zip(self.units, inputs, strict=True)]
        fused = []
        for i, exchanges in enumerate(self.fuse):
            assert isinstance(exchanges, nn.ModuleList)
            # As the weights were trained: the finest branch counts twice in every sum, and
            # branches below it receive its sum instead of its own map.
            received = [exchange(x) for exchange, x in zip(exchanges, maps, strict=True)]
            total = 2.0 * received[0]
            for same in received[1 : i + 1]:
                total = total + same
            # Coarser branches are summed on their way up: most sums are then of small maps.
            coarser = received[i + 1 :]
            while coarser:
                up = F.interpolate(coarser.pop(), scale_factor=2.0)
                if coarser:
                    coarser[-1] = coarser[-1] + up
                else:
                    total = total + up
            if i == 0:
                maps[0] = total
            fused.append(F.relu(total))
        return fused


class LiteHRNetEncoder(Encoder):
    """(N, 3, H, W) -> (N, 40, H/4, W/4); H and W are multiples of 32.

    Input: RGB, normalised with ImageNet's mean and standard deviation.
    """

    channels = 40
    stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Stem()
        self.first_transition = nn.ModuleList(
            (_separable(32, _WIDTHS[0]), _separable(32, _WIDTHS[1], stride=2))
        )
        # transitions[s] opens the branch that stage s + 1 adds.
        self.transitions = nn.ModuleList(
            _separable(a, b, stride=2) for a, b in pairwise(_WIDTHS[1:])
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Module(s + 2) for _ in range(count)))
            for s, count in enumerate(_MODULES_PER_STAGE)
        )
        # merge[b] narrows branch b to the width of branch b - 1, on the way back up.
        self.merge = nn.ModuleList(
            _separable(c, _WIDTHS[max(b - 1, 0)]) for b, c in enumerate(_WIDTHS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features that enter the prediction head."""
        x = self.stem(x)
        maps = [transition(x) for transition in self.first_transition]
        for s, stage in enumerate(self.stages):
            if s > 0:
                maps.append(self.transitions[s - 1](maps[-1]))
            maps = stage(maps)
        x = self.merge[-1](maps[-1])
        for b in range(len(maps) - 2, -1, -1):
            up = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
            x = self.merge[b](maps[b] + up)
        return x


def load_tinypose(encoder: LiteHRNetEncoder, path: str | PathLike[str]) -> None:
    """Fill the encoder with the weights of PP-TinyPose 256x192 or 128x96, as ONNX or OpenVINO IR.

    Raises ModelError if the file's convolutions are not those of the encoder.
    """
    published = published_convolutions(path)
    own = list(_in_published_order(encoder))
    if len(published) != len(own) + 1:
        raise ModelError(
            f"{path} has {len(published)} convolutions, PP-TinyPose has {len(own) + 1}; "
            "give the file of PP-TinyPose."
        )
    fill_convolutions(own, published[:-1], path, "PP-TinyPose")


def _in_published_order(encoder: LiteHRNetEncoder) -> Iterator[nn.Conv2d]:
    """The encoder's convolutions in the order of the ONNX nodes.

    The file is sorted from its output backwards (depth first, a sum's terms from left to right),
    so a branch's convolutions appear where its result is first needed.
    """
    modules = [module for module in encoder.stages.modules() if isinstance(module, _Module)]
    seen: set[nn.Module] = set()

    def layer(block: nn.Module) -> Iterator[nn.Conv2d]:
        if block not in seen:
            seen.add(block)
            yield from (m for m in block.modules() if isinstance(m, nn.Conv2d))

    def branch_input(depth: int, branch: int) -> Iterator[nn.Conv2d]:
        if depth == 0:
            yield from layer(encoder.stem)
            yield from layer(encoder.first_transition[branch])
        elif branch == len(modules[depth - 1].units):
            yield from fused(depth - 1, branch - 1)
            yield from layer(encoder.transitions[branch - 2])
        else:
            yield from fused(depth - 1, branch)

    def branch_map(depth: int, branch: int) -> Iterator[nn.Conv2d]:
        if modules[depth].units[branch] not in seen:
            yield from branch_input(depth, branch)
            yield from layer(modules[depth].units[branch])

    def fused(depth: int, branch: int) -> Iterator[nn.Conv2d]:
        for source, exchange in enumerate(modules[depth].fuse[branch].children()):
            yield from branch_map(depth, source)
            yield from layer(exchange)

    last = len(modules) - 1
    for branch in range(len(_WIDTHS)):
        yield from fused(last, branch)
    for block in reversed(encoder.merge):
        yield from layer(block)
