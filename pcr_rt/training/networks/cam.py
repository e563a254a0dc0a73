"""The context-aware module (CAM) of Progressive Context Refinement."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ContextAwareModule"]

_DILATIONS = (1, 2, 3, 4)


def _conv_bn_relu(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class _SqueezeExcite(nn.Module):
    """One weight in (0, 1) per output channel, from the mean of the input: (N, C_k, 1, 1)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = out_channels // 4
        self.reduce = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.reduce_bn = nn.BatchNorm2d(hidden)
        self.expand = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.expand_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1)
        hidden = F.relu(self.reduce_bn(self.reduce(pooled)))
        return torch.sigmoid(self.expand_bn(self.expand(hidden)))


class _HybridDilated(nn.Module):
    """Four parallel dilated convolutions, concatenated (HDC): (N, C_k, h, w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        quarter = out_channels // len(_DILATIONS)
        self.branches = nn.ModuleList(_conv_bn_relu(in_channels, quarter, d) for d in _DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class ContextAwareModule(nn.Module):
    """ReLU(SE * HDC + RES), equation (1) of the PCR paper.

    Parameters
    ----------
    in_channels, out_channels
        Width of the input and of the output (C_k, a multiple of 4).
    stride
        2 doubles the resolution, 1 keeps it.
    se, hdc
        Switch a branch off: without SE its factor is 1, without HDC one 3x3 convolution of the
        same width takes its place.

    Shapes: (N, in_channels, h, w) -> (N, out_channels, h * stride, w * stride). With SE, training
    needs two images or more in a batch, since its batch norms see one value per image.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 2,
        se: bool = True,
        hdc: bool = True,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride is {stride}; a CAM has stride 1 or 2")
        if out_channels % 4 or out_channels <= 0:
            raise ValueError(f"out_channels is {out_channels}; a CAM needs a multiple of 4")
        self.stride = stride
        self.squeeze = _SqueezeExcite(in_channels, out_channels) if se else None
        self.context = (
            _HybridDilated(in_channels, out_channels)
            if hdc
            else _conv_bn_relu(in_channels, out_channels)
        )
        self.resample: nn.Conv2d | nn.ConvTranspose2d
        if stride == 2:
            self.resample = nn.ConvTranspose2d(
                out_channels, out_channels, 4, stride=2, padding=1, bias=False
            )
            nn.init.normal_(self.resample.weight, std=0.001)
        else:
            self.resample = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.resample_bn = nn.BatchNorm2d(out_channels)
        self.residual = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.residual_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Compute equation (1)."""
        out = F.relu(self.resample_bn(self.resample(self.context(x))))
        if self.squeeze is not None:
            out = self.squeeze(x) * out
        return F.relu(out + self._residual(x))

    def _residual(self, x: Tensor) -> Tensor:
        # In training the paper's order: batch statistics are those of the upsampled map. With
        # fixed statistics the steps commute, since bilinear weights sum to 1: convolving first
        # takes a quarter of the multiplications and gives equal results.
        upsample_first = self.stride == 2 and self.training
        out: Tensor = self.residual_bn(self.residual(_upsample(x) if upsample_first else x))
        return _upsample(out) if self.stride == 2 and not upsample_first else out


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
