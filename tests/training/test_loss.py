from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.training.loss import heatmap_loss, pose_loss
from pcr_rt.training.networks.maps import PoseMaps


def test_weighted_mean_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    targets = torch.tensor([[[[0.0, 0.0]], [[0.0, 9.0]]]])
    # (1 + 4) / 2 for the first joint; the second has weight 0; mean over 1 x 2 joints.
    assert heatmap_loss(maps, targets, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(1.25)


def test_unlabelled_joints_give_no_gradient() -> None:
    maps = torch.zeros(1, 2, 4, 4, requires_grad=True)
    heatmap_loss(maps, torch.ones(1, 2, 4, 4), torch.tensor([[0.0, 2.0]])).backward()
    assert maps.grad is not None
    assert (maps.grad[0, 0] == 0).all()
    # d/dm of 2 (m - 1)^2 / (2 joints x 16 pixels) at m = 0.
    torch.testing.assert_close(maps.grad[0, 1], torch.full((4, 4), -4 / 32))


def test_levels_and_auxiliary_heads_are_summed_at_their_own_size() -> None:
    output = PoseMaps(
        [torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 3.0)], [torch.zeros(1, 1, 2, 2)]
    )
    asked = []

    def targets(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(size)
        return torch.ones(1, 1, size[1], size[0]), torch.ones(1, 1)

    # 1 for the first level, 4 for the second, half of 1 for the auxiliary head.
    assert pose_loss(output, targets, auxiliary_weight=0.5).item() == pytest.approx(5.5)
    assert asked == [(4, 4), (4, 4), (2, 2)]
