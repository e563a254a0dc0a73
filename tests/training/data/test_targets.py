from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.training.data.targets import (
    draw_heatmaps,
    sigma_for,
    weights_inside,
)


def test_sigma_follows_the_resolution() -> None:
    assert [sigma_for(s) for s in ((48, 64), (72, 96), (24, 32))] == [2, 3, 1]


def test_gaussian_by_hand_at_a_sub_pixel_place() -> None:
    maps = draw_heatmaps(torch.tensor([[[10.25, 20.5]]]), torch.tensor([[0.8]]), (48, 64), 2.0)
    assert maps.shape == (1, 1, 64, 48)
    for x, y in ((10, 20), (13, 18), (0, 0)):
        distance = (x - 10.25) ** 2 + (y - 20.5) ** 2
        expected = 0.8 * math.exp(-distance / 8)
        assert maps[0, 0, y, x].item() == pytest.approx(expected, abs=1e-6)


def test_amplitude_zero_is_an_empty_map() -> None:
    maps = draw_heatmaps(torch.tensor([[[10.0, 20.0]]]), torch.zeros(1, 1), (48, 64), 2.0)
    assert maps.abs().max() == 0


def test_joints_far_outside_the_map_have_no_weight() -> None:
    points = torch.tensor([[[-6.0, 5.0], [-6.1, 5.0], [53.0, 69.0], [20.0, 69.1]]])
    weights = weights_inside(points, torch.full((1, 4), 0.5), (48, 64), 2.0)
    assert weights.tolist() == [[0.5, 0.0, 0.5, 0.0]]
