"""The feature pyramid, by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F

from pcr_rt.training.networks.mobilenet import MobileNetV2Encoder
from pcr_rt.training.networks.pcr import PCR
from pcr_rt.training.networks.pyramid import FeaturePyramid


def test_levels_are_added_after_upsampling():
    """Projections of weight 1 and smoothing that passes everything on leave ReLUs of sums."""
    pyramid = FeaturePyramid((1, 1, 1), 1).eval()
    for module in pyramid.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            centre = module.kernel_size[0] // 2
            with torch.no_grad():
                module.weight[:, :, centre, centre] = 1
        elif isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    fine, middle = torch.zeros(1, 1, 8, 4), torch.zeros(1, 1, 4, 2)
    coarse = torch.tensor([[[[4.0], [-8.0]]]])
    fine[0, 0, 0, 0] = -100
    fine[0, 0, 7, 3] = 2
    with torch.no_grad():
        found = pyramid([fine, middle, coarse])[0, 0].numpy()
    # The coarse -8 is lost in the ReLU; bilinear upsampling of (4, 0) by two, twice.
    once = np.array([4.0, 3, 1, 0])
    twice = np.array([4, 3.75, 3.25, 2.5, 1.5, 0.75, 0.25, 0])
    assert np.interp(np.arange(8) / 2 - 0.25, np.arange(4), once) == pytest.approx(twice)
    expected = np.repeat(twice[:, None], 4, 1)
    expected[0, 0], expected[7, 3] = 0, 2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_decoders_read_the_pyramid():
    torch.manual_seed(0)
    network = PCR(MobileNetV2Encoder(), (8,), stride=1, pyramid=12).eval()
    x = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        features = network.pyramid(network.encoder.maps(x))
        expected = F.conv2d(
            network.decoders[0](features)[1], network.heads[0].weight, network.heads[0].bias
        )
        found = network(x).levels[0]
    assert features.shape == (2, 12, 16, 8)
    torch.testing.assert_close(found, expected)


def test_everything_learns():
    network = PCR(MobileNetV2Encoder(), (8,), stride=1, auxiliary=False, pyramid=12)
    network(torch.randn(2, 3, 64, 64)).levels[0].square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
