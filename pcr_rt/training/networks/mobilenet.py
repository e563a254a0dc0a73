"""MobileNetV2, 1.75 times as wide: the body of MoveNet Thunder, plain convolutions and ReLU6.

Architecture after Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018).
The published weights have their batch norms folded in, so every layer here is a convolution with a
bias. The last block (560 channels) and the 1280-channel convolution behind it are left out: a third
of the published parameters, for 48 places of a 256x192 crop.
"""

from __future__ import annotations

from os import PathLike

from torch import Tensor, nn

from pcr_rt.errors import ModelError
from pcr_rt.training.networks.convolutions import fill_convolutions, published_convolutions
from pcr_rt.training.networks.encoder import Encoder

__all__ = ["MobileNetV2Encoder", "load_movenet"]

# Blocks in a row, stride of the first one, width inside of the first and of the others, width.
_STAGES = (
    (2, 2, 192, 240, 40),
    (3, 2, 240, 336, 56),
    (4, 2, 336, 672, 112),
    (3, 1, 672, 1008, 168),
    (3, 2, 1008, 1680, 280),
)


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution and ReLU6. At stride 2 padded as TensorFlow's "same": only below and right."""
    shifted = stride == 2
    return nn.Sequential(
        *([nn.ZeroPad2d((0, 1, 0, 1))] if shifted else []),
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=0 if shifted else kernel_size // 2,
            groups=groups,
        ),
        nn.ReLU6(inplace=True),
    )


class _InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (depthwise), project (1x1); add the input if it fits."""

    def __init__(self, in_channels: int, inside: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.expand = (
            _convolution(in_channels, inside, 1) if inside != in_channels else nn.Identity()
        )
        self.depthwise = _convolution(inside, inside, 3, stride, groups=inside)
        self.project = nn.Conv2d(inside, out_channels, 1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return out + x if self.residual else out


class MobileNetV2Encoder(Encoder):
    """(N, 3, H, W) -> (N, 280, H/32, W/32), the last block's features; H, W multiples of 32.

    Input: RGB, x / 127.5 - 1 of 0..255.
    """

    channels = 280
    stride = 32
    map_channels = (40, 56, 168, 280)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(3, 56, 3, 2), _InvertedResidual(56, 56, 32))
        stages = []
        width = 32
        for count, stride, first, inside, channels in _STAGES:
            blocks = [_InvertedResidual(width, first, channels, stride)]
            blocks += [_InvertedResidual(channels, inside, channels) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            width = channels
        self.stages = nn.ModuleList(stages)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the features at strides 4, 8, 16 and 32."""
        found: list[Tensor] = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        # The stages of 112 and of 168 channels share stride 16: the later one counts.
        del found[2]
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the last block."""
        return self.maps(x)[-1]


def load_movenet(encoder: MobileNetV2Encoder, path: str | PathLike[str]) -> None:
    """Fill the encoder with the weights of MoveNet Thunder's ONNX file.

    The file begins with the body's convolutions in their order. Raises ModelError if they are
    not those of the encoder.
    """
    own = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    published = published_convolutions(path)
    if len(published) < len(own):
        raise ModelError(
            f"{path} has {len(published)} convolutions, MoveNet Thunder's body alone has "
            f"{len(own)}; give the file of MoveNet Thunder."
        )
    fill_convolutions(own, published[: len(own)], path, "MoveNet Thunder")
