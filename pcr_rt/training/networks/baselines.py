"""The networks that PCR is compared with: SimpleBaseline, and a bare head on HRNet.

Xiao et al., "Simple Baselines for Human Pose Estimation and Tracking" (2018); Sun et al. (2019).
Apart from the prefix ``encoder.`` the parameters carry the names of the published pose_resnet and
pose_hrnet checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

from pcr_rt.training.networks.encoder import Encoder
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.networks.pcr import prediction_head

__all__ = ["HeadOnly", "SimpleBaseline"]

_WIDTH = 256


class SimpleBaseline(nn.Module):
    """Three deconvolutions of stride 2 and width 256, then a 1x1 prediction head.

    ``forward`` maps (N, 3, H, W) to `PoseMaps` of one level at 8 / encoder.stride.
    """

    def __init__(self, encoder: Encoder, num_keypoints: int = 17) -> None:
        super().__init__()
        self.encoder = encoder
        layers: list[nn.Module] = []
        for in_channels in (encoder.channels, _WIDTH, _WIDTH):
            deconvolution = nn.ConvTranspose2d(
                in_channels, _WIDTH, 4, stride=2, padding=1, bias=False
            )
            nn.init.normal_(deconvolution.weight, std=0.001)
            layers += [deconvolution, nn.BatchNorm2d(_WIDTH), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = prediction_head(_WIDTH, num_keypoints)

    def forward(self, x: Tensor) -> PoseMaps:
        """Return the heatmaps of the only level."""
        return PoseMaps([self.final_layer(self.deconv_layers(self.encoder(x)))], [])


class HeadOnly(nn.Module):
    """A 1x1 prediction head on an encoder that keeps a high resolution.

    ``forward`` maps (N, 3, H, W) to `PoseMaps` of one level at 1 / encoder.stride.
    """

    def __init__(self, encoder: Encoder, num_keypoints: int = 17) -> None:
        super().__init__()
        self.encoder = encoder
        self.final_layer = prediction_head(encoder.channels, num_keypoints)

    def forward(self, x: Tensor) -> PoseMaps:
        """Return the heatmaps of the only level."""
        return PoseMaps([self.final_layer(self.encoder(x))], [])
