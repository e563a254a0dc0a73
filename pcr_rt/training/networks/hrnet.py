"""HRNet, the encoder of pcr-w32 and pcr-w48: up to four resolutions in parallel.

Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation" (2019). The
parameters carry the names of the published pose_hrnet checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pcr_rt.training.networks.encoder import Encoder
from pcr_rt.training.networks.resnet import BasicBlock, Bottleneck, initialise

__all__ = ["HRNetEncoder"]

_BLOCKS_PER_BRANCH = 4
_MODULES = {"stage2": 1, "stage3": 4, "stage4": 3}


def _conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> list[nn.Module]:
    padding = kernel_size // 2
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


class _Module(nn.Module):
    """Four residual blocks on each branch, then branches exchange their maps.

    ``outputs`` is how many of the branches are wanted behind the exchange, finest first.
    """

    def __init__(self, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(_BLOCKS_PER_BRANCH)))
            for width in widths
        )
        # fuse_layers[i][j] brings branch j to the width and resolution of branch i.
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(widths, j, i) for j in range(len(widths)))
            for i in range(outputs)
        )

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        fused = []
        for row in self.fuse_layers:
            assert isinstance(row, nn.ModuleList)
            terms = [exchange(x) for exchange, x in zip(row, maps, strict=True)]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            fused.append(F.relu(total))
        return fused


def _exchange(widths: list[int], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            *_conv_bn(widths[source], widths[target], 1),
            nn.Upsample(scale_factor=2.0 ** (source - target), mode="nearest"),
        )
    steps = [
        nn.Sequential(*_conv_bn(widths[source], widths[source], 3, stride=2), nn.ReLU())
        for _ in range(target - source - 1)
    ]
    last = nn.Sequential(*_conv_bn(widths[source], widths[target], 3, stride=2))
    return nn.Sequential(*steps, last)


def _new_branch(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(*_conv_bn(in_channels, out_channels, 3, stride=2), nn.ReLU())
    )


def _stage(count: int, widths: list[int], last_outputs: int) -> nn.Sequential:
    outputs = [len(widths)] * (count - 1) + [last_outputs]
    return nn.Sequential(*(_Module(widths, n) for n in outputs))


class HRNetEncoder(Encoder):
    """(N, 3, H, W) -> (N, width, H/4, W/4); width is 32 or 48, H and W are multiples of 32.

    Input: RGB, normalised with ImageNet's mean and standard deviation.
    """

    stride = 4

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.channels = width
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.conv1 = nn.Conv2d(3, 64, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))
        self.transition1 = nn.ModuleList(
            (
                nn.Sequential(*_conv_bn(256, widths[0], 3), nn.ReLU()),
                _new_branch(256, widths[1]),
            )
        )
        self.stage2 = _stage(_MODULES["stage2"], widths[:2], last_outputs=2)
        self.transition2 = nn.ModuleList(
            (nn.Identity(), nn.Identity(), _new_branch(widths[1], widths[2]))
        )
        self.stage3 = _stage(_MODULES["stage3"], widths[:3], last_outputs=3)
        self.transition3 = nn.ModuleList(
            (nn.Identity(), nn.Identity(), nn.Identity(), _new_branch(widths[2], widths[3]))
        )
        self.stage4 = _stage(_MODULES["stage4"], widths, last_outputs=1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the finest branch."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        maps: list[Tensor] = self.stage2([transition(x) for transition in self.transition1])
        maps = self.stage3([*maps, self.transition2[-1](maps[-1])])
        maps = self.stage4([*maps, self.transition3[-1](maps[-1])])
        return maps[0]
