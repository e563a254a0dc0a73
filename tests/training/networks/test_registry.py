"""Names and tables to networks, and what is refused."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.networks.baselines import HeadOnly, SimpleBaseline
from pcr_rt.training.networks.pcr import PCR
from pcr_rt.training.networks.registry import PRESETS, build

# Kind, encoder's stride and channels, L, C_k, as the design's table gives them.
EXPECTED = {
    "pcr-r50": (PCR, 32, 2048, 1, [256, 256, 256]),
    "pcr-r152": (PCR, 32, 2048, 2, [128, 96, 64]),
    "pcr-w32": (PCR, 4, 32, 1, [48]),
    "pcr-w48": (PCR, 4, 48, 2, [48]),
    "pcr-tiny": (PCR, 4, 40, 1, [32]),
    "pcr-nano": (PCR, 4, 40, 1, [32]),
    "pcr-mobilenet": (PCR, 32, 280, 1, [48]),
    "baseline-r50": (SimpleBaseline, 32, 2048, 1, None),
    "baseline-r152": (SimpleBaseline, 32, 2048, 1, None),
    "hrnet-w32": (HeadOnly, 4, 32, 1, None),
    "hrnet-w48": (HeadOnly, 4, 48, 1, None),
}


def build_shapes_only(table):
    with torch.device("meta"):
        return build(table).eval()


def test_all_presets_are_expected():
    assert PRESETS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_preset(name):
    kind, stride, channels, levels, widths = EXPECTED[name]
    network = build_shapes_only(name)
    assert type(network) is kind
    assert (network.encoder.stride, network.encoder.channels) == (stride, channels)
    if widths:
        for decoder in network.decoders:
            modules = [*decoder.modules_before, decoder.last]
            assert [m.residual_bn.num_features for m in modules] == widths
            assert all(m.squeeze is not None for m in modules)
    height, width = (128, 96) if name == "pcr-nano" else (256, 192)
    maps = network(torch.zeros(2, 3, height, width, device="meta"))
    assert [h.shape for h in maps.levels] == [(2, 17, 64, 48)] * levels


def test_size_of_pcr_r50():
    """33.4 M parameters, as the design's prototype."""
    count = sum(p.numel() for p in build_shapes_only("pcr-r50").parameters())
    assert count / 1e6 == pytest.approx(33.4, abs=0.05)


def test_a_table_of_the_preset_is_the_preset():
    table = {"encoder": "lite-hrnet", "channels": [32], "stride": 1, "auxiliary": False}
    own, preset = build_shapes_only(table).state_dict(), build_shapes_only("pcr-tiny").state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in preset.items()}


def test_table_options_arrive():
    table = {"encoder": "lite-hrnet", "channels": (8, 12), "stride": 1, "levels": 3}
    network = build_shapes_only({**table, "se": False, "hdc": False, "auxiliary": False})
    assert len(network.decoders) == 3
    modules = [m for d in network.decoders for m in (*d.modules_before, d.last)]
    assert [m.residual_bn.num_features for m in modules] == [8, 12] * 3
    assert all(m.squeeze is None and m.stride == 1 for m in modules)
    assert len(network.auxiliary_heads) == 0
    # Without HDC one 3x3 convolution stands in its place.
    assert modules[0].context[0].weight.shape == (8, 40, 3, 3)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("pcr-huge", ["name is 'pcr-huge'", "pcr-tiny"]),
        ({}, ["encoder is None", "resnet-50"]),
        ({"encoder": "vgg"}, ["encoder is 'vgg'", "lite-hrnet"]),
        ({"encoder": ["resnet-50"]}, ["encoder is ['resnet-50']", "resnet-50"]),
        ({"encoder": "resnet-50", "decoder": "fpn"}, ["decoder is 'fpn'", "none, pcr, simple-b"]),
        ({"encoder": "resnet-50", "levls": 2}, ["levls = 2", "levels"]),
        (
            {"encoder": "resnet-50", "decoder": "simple-baseline", "levels": 2},
            ["levels = 2", "decoder, encoder"],
        ),
        ({"encoder": "lite-hrnet", "channels": []}, ["channels is []", "multiples of 4"]),
        ({"encoder": "lite-hrnet", "channels": 48}, ["channels is 48", "multiples of 4"]),
        ({"encoder": "lite-hrnet", "channels": [46]}, ["channels is [46]", "multiples of 4"]),
        ({"encoder": "lite-hrnet", "channels": [2**31]}, ["multiples of 4 up to 4096"]),
        ({"encoder": "lite-hrnet", "channels": [48.0]}, ["channels is [48.0]", "multiples of 4"]),
        ({"encoder": "lite-hrnet", "channels": [8] * 3}, ["channels is [8, 8, 8]", "up to 2"]),
        ({"encoder": "resnet-50", "levels": 0}, ["levels is 0", "from 1 to 16"]),
        ({"encoder": "resnet-50", "levels": True}, ["levels is True", "from 1 to 16"]),
        ({"encoder": "resnet-50", "stride": 4}, ["stride is 4", "1, 2"]),
        ({"encoder": "mobilenet-v2", "pyramid": -8}, ["pyramid is -8", "0 for none"]),
        ({"encoder": "resnet-50", "pyramid": 48}, ["pyramid is 48", "mobilenet-v2"]),
        (
            {"encoder": "mobilenet-v2", "pyramid": 48, "channels": [8] * 3},
            ["channels is [8, 8, 8]", "up to 2"],
        ),
        ({"encoder": "resnet-50", "se": "yes"}, ["se is 'yes'", "true, false"]),
        ({"encoder": "resnet-50", "decoder": "none"}, ["encoder is 'resnet-50'", "stride 4"]),
        (
            {"encoder": "hrnet-w32", "decoder": "simple-baseline"},
            ["encoder is 'hrnet-w32'", "stride 32"],
        ),
    ],
)
def test_refuses(table, words):
    with torch.device("meta"), pytest.raises(DataError) as caught:
        build(table)
    for word in words:
        assert re.search(re.escape(word), str(caught.value))
