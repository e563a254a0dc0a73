"""SimpleBaseline and the bare head: names and sizes of the published networks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from pcr_rt.training.networks.baselines import HeadOnly, SimpleBaseline
from pcr_rt.training.networks.encoder import Encoder
from pcr_rt.training.networks.resnet import ResNetEncoder


class TinyEncoder(Encoder):
    channels = 6
    stride = 32

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 32, 32)

    def forward(self, x):
        return self.conv(x)


# Published: 34.0 M and 68.6 M.
@pytest.mark.parametrize(("depth", "millions"), [(50, 34.0), (152, 68.6)])
def test_names_and_sizes_of_pose_resnet(depth, millions):
    with torch.device("meta"):
        network = SimpleBaseline(ResNetEncoder(depth))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    state = {k.removeprefix("encoder."): v for k, v in network.state_dict().items()}
    shapes = {
        "conv1.weight": (64, 3, 7, 7),
        "layer4.0.downsample.1.weight": (2048,),
        "deconv_layers.0.weight": (2048, 256, 4, 4),
        "deconv_layers.1.running_mean": (256,),
        "deconv_layers.3.weight": (256, 256, 4, 4),
        "deconv_layers.7.bias": (256,),
        "final_layer.weight": (17, 256, 1, 1),
        "final_layer.bias": (17,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


@pytest.mark.parametrize(("network", "size"), [(SimpleBaseline, (16, 24)), (HeadOnly, (2, 3))])
def test_one_level_without_auxiliary_maps(network, size):
    net = network(TinyEncoder()).train()
    maps = net(torch.randn(2, 3, 64, 96))
    assert maps.auxiliary == []
    assert [h.shape for h in maps.levels] == [(2, 17, *size)]


def test_bare_head_is_a_weighted_sum_of_channels():
    net = HeadOnly(TinyEncoder()).eval()
    nn.init.normal_(net.final_layer.weight)
    nn.init.normal_(net.final_layer.bias)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features, maps = net.encoder(x).numpy(), net(x).levels[0].numpy()
    weight, bias = (p.detach().numpy() for p in net.final_layer.parameters())
    expected = np.einsum("kc,nchw->nkhw", weight[:, :, 0, 0], features) + bias[:, None, None]
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_start():
    net = SimpleBaseline(TinyEncoder())
    for layer in (net.deconv_layers[3], net.deconv_layers[6], net.final_layer):
        assert float(layer.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
    assert not net.final_layer.bias.any()
