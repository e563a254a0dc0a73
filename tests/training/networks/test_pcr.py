"""Equation (2), the auxiliary heads and the starting weights of PCR."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from pcr_rt.training.networks.encoder import Encoder
from pcr_rt.training.networks.pcr import PCR


class TinyEncoder(Encoder):
    channels = 12
    stride = 8

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 8, 8)

    def forward(self, x):
        return self.conv(x)


def network(**options):
    torch.manual_seed(0)
    net = PCR(TinyEncoder(), **{"channels": (16, 8), "levels": 3, **options})
    for head in (*net.heads, *net.auxiliary_heads):
        nn.init.normal_(head.weight)
        nn.init.normal_(head.bias)
    for module in net.modules():
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight)
    return net


def hand_head(head, features):
    weight = head.weight.detach().numpy()[:, :, 0, 0]
    bias = head.bias.detach().numpy()
    return np.einsum("kc,nchw->nkhw", weight, features) + bias[:, None, None]


def recorded(net, x):
    """The network's maps, and what each decoder's modules gave on the way."""
    seen = []
    for decoder in net.decoders:
        decoder.last.register_forward_hook(
            lambda _, inputs, out: seen.append((inputs[0].detach().numpy(), out.detach().numpy()))
        )
    return net(x), seen


def test_levels_are_heads_on_running_sums():
    net = network().eval()
    maps, seen = recorded(net, torch.randn(2, 3, 32, 24))
    assert maps.auxiliary == []
    assert len(maps.levels) == 3
    for level, h in enumerate(maps.levels):
        assert h.shape == (2, 17, 16, 12)
        total = sum(features for _, features in seen[: level + 1])
        np.testing.assert_allclose(
            h.detach().numpy(), hand_head(net.heads[level], total), atol=1e-4
        )


def test_decoders_are_parallel():
    """Each level reads the encoder's features and has weights of its own."""
    net = network(channels=(16,)).eval()
    _, seen = recorded(net, torch.randn(1, 3, 32, 24))
    for read, _ in seen[1:]:
        np.testing.assert_array_equal(read, seen[0][0])
    assert not np.allclose(seen[0][1], seen[1][1])


@pytest.mark.parametrize(
    ("channels", "stride", "size"), [((16, 8), 2, (8, 6)), ((8,), 2, (4, 3)), ((8, 8), 1, (4, 3))]
)
def test_auxiliary_heads_stand_on_the_penultimate_module(channels, stride, size):
    net = network(channels=channels, stride=stride).train()
    maps, seen = recorded(net, torch.randn(2, 3, 32, 24))
    assert len(maps.auxiliary) == 3
    for head, h, (penultimate, _) in zip(net.auxiliary_heads, maps.auxiliary, seen, strict=True):
        assert h.shape == (2, 17, *size)
        np.testing.assert_allclose(h.detach().numpy(), hand_head(head, penultimate), atol=1e-4)


def test_auxiliary_off():
    net = network(auxiliary=False).train()
    assert net(torch.randn(2, 3, 32, 24)).auxiliary == []
    assert not any("auxiliary" in name for name, _ in net.named_parameters())


def test_every_parameter_learns():
    net = network().train()
    maps = net(torch.randn(2, 3, 32, 24))
    sum(h.square().mean() for h in maps.levels + maps.auxiliary).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_branches_can_be_switched_off():
    def count(**options):
        return sum(p.numel() for p in network(channels=(8,), levels=1, **options).parameters())

    everything = count()
    # SE of 12 -> 8: 1x1 of 12 x 2 and 2 x 8, two batch norms of 2 and 8 pairs.
    assert everything - count(se=False) == 12 * 2 + 2 * 8 + 2 * (2 + 8)
    # Four 3x3 convolutions of 12 -> 2 or one of 12 -> 8: as many weights either way.
    assert everything == count(hdc=False)
    # AD of K = 1 stands on the encoder's 12 channels.
    assert everything - count(auxiliary=False) == 17 * 12 + 17
    names = {name for name, _ in network(se=False).named_modules()}
    assert not any("squeeze" in name for name in names)


def test_start():
    net = PCR(TinyEncoder(), channels=(64, 64))
    for head in (*net.heads, *net.auxiliary_heads):
        assert float(head.weight.detach().std()) == pytest.approx(0.001, rel=0.15)
        assert not head.bias.any()
    for module in net.modules():
        if isinstance(module, nn.ConvTranspose2d):
            assert float(module.weight.detach().std()) == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize("options", [{"channels": ()}, {"levels": 0}])
def test_refuses(options):
    with pytest.raises(ValueError, match="at least one"):
        PCR(TinyEncoder(), **options)
