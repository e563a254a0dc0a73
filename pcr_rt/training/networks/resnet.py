"""ResNet without its classifier, the encoder of pcr-r50 and pcr-r152.

He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride of a bottleneck
in its 3x3 convolution. The parameters carry torchvision's names, so that published checkpoints
fit by name.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pcr_rt.training.networks.encoder import Encoder

__all__ = ["BasicBlock", "Bottleneck", "ResNetEncoder", "initialise"]

_BLOCKS = {50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}


class Bottleneck(nn.Module):
    """1x1 to ``planes``, 3x3, 1x1 to 4 x ``planes``, plus the input."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = planes * self.expansion
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, 4 * planes, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + x)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


def initialise(network: nn.Module) -> None:
    """Start every convolution from He's normal distribution."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNetEncoder(Encoder):
    """(N, 3, H, W) -> (N, 2048, H/32, W/32); depth is 50 or 152.

    Input: RGB, normalised with ImageNet's mean and standard deviation.
    """

    channels = 2048
    stride = 32

    def __init__(self, depth: int = 50) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        blocks = _BLOCKS[depth]
        self.layer1 = _layer(64, 64, blocks[0], stride=1)
        self.layer2 = _layer(256, 128, blocks[1], stride=2)
        self.layer3 = _layer(512, 256, blocks[2], stride=2)
        self.layer4 = _layer(1024, 512, blocks[3], stride=2)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the last block."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        out: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return out


def _layer(in_channels: int, planes: int, count: int, stride: int) -> nn.Sequential:
    first = Bottleneck(in_channels, planes, stride)
    width = planes * Bottleneck.expansion
    return nn.Sequential(first, *(Bottleneck(width, planes) for _ in range(count - 1)))
