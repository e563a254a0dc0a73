"""Multiply-adds by hand and against published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from pcr_rt.training.networks.profile import count_macs, count_parameters, table
from pcr_rt.training.networks.registry import build


def test_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 8 x 8 x 8 outputs of 3 x 9 products
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 5, padding=2, groups=4),  # 8 x 8 x 8 outputs of 2 x 25
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, groups=2),  # 8 x 8 x 8 inputs of 2 x 16
        nn.Flatten(),
        nn.Linear(4 * 16 * 16, 10),
    )
    by_hand = 512 * 27 + 512 * 50 + 512 * 32 + 1024 * 10
    assert count_macs(network, (16, 16)) == by_hand
    assert count_parameters(network) == (
        (8 * 27 + 8) + 16 + (8 * 50 + 8) + (8 * 2 * 16 + 4) + (10 * 1024 + 10)
    )
    assert network.training


def test_width_comes_first():
    network = nn.Conv2d(3, 1, (1, 3))
    assert count_macs(network, (10, 2)) == 2 * 8 * 9


# MMPose lists 5.46, 7.70 and 15.77 GMAC at 256x192, batch norms and sums included; the paper's
# pcr-r50 with the residual convolved after upsampling has 6.2, which before upsampling saves
# 3/4 of 2048 x 256 x 16 x 12, 256 x 256 x 32 x 24 and 256 x 256 x 64 x 48.
@pytest.mark.parametrize(
    ("name", "gmac"),
    [
        ("baseline-r50", 5.46),
        ("hrnet-w32", 7.70),
        ("hrnet-w48", 15.77),
        ("pcr-r50", 6.22 - 0.75 * (100.7 + 50.3 + 201.3) * 1e-3),
    ],
)
def test_published_figures(name, gmac):
    with torch.device("meta"):
        network = build(name)
    assert count_macs(network, (192, 256)) / 1e9 == pytest.approx(gmac, rel=0.01)


@pytest.mark.slow
def test_the_documentation_has_the_table():
    page = Path(__file__).parents[3] / "docs" / "reference" / "networks.md"
    assert table() in page.read_text()
