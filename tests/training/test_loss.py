from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import Skeleton
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.loader import Batch, View
from pcr_rt.training.loss import StepLoss, heatmap_loss, pose_loss
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer


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
        [torch.zeros(1, 1, 4, 3), torch.full((1, 1, 4, 3), 3.0)], [torch.zeros(1, 1, 2, 2)]
    )
    assert output.sizes() == {(3, 4), (2, 2)}
    one = torch.ones(1, 1)
    targets = {(3, 4): (torch.ones(1, 1, 4, 3), one), (2, 2): (torch.full((1, 1, 2, 2), 2.0), one)}
    # 1 for the first level, 4 for the second, half of 4 for the auxiliary head.
    assert pose_loss(output, targets, auxiliary_weight=0.5).item() == pytest.approx(7)


def test_hard_keypoints_by_hand() -> None:
    # Squared errors 1, 4, 9 of the first person, 16, 0, 25 of the second, whose last has weight 0.
    maps = torch.tensor([[1.0, 2, 3], [4, 0, 5]])[..., None, None].expand(2, 3, 2, 2)
    weights = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    targets = torch.zeros(2, 3, 2, 2)
    assert heatmap_loss(maps, targets, weights).item() == pytest.approx(30 / 6)
    hard = heatmap_loss(maps, targets, weights, hard_keypoints=2)
    assert hard.item() == pytest.approx((9 + 4 + 16 + 0) / 4)
    assert heatmap_loss(maps, targets, weights, hard_keypoints=9).item() == pytest.approx(5)


def test_weights_of_levels_and_mining_at_the_last() -> None:
    first = torch.full((2, 3, 4, 4), 2.0)
    last = torch.tensor([1.0, 2, 3])[:, None, None].expand(2, 3, 4, 4)
    output = PoseMaps([first, last], [torch.ones(2, 3, 2, 2)])
    sizes = ((4, 4), (2, 2))
    targets = {size: (torch.zeros(2, 3, *size), torch.ones(2, 3)) for size in sizes}
    loss = pose_loss(
        output, targets, level_weights=(0.5, 2.0), auxiliary_weight=3.0, hard_keypoints=1
    )
    assert loss.item() == pytest.approx(0.5 * 4 + 2 * 9 + 3 * 1)


def test_zero_weights_leave_the_heads_where_they_are(drawn: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = (drawn / "recipe.toml").read_text().replace("weight_decay = 1e-4", "weight_decay = 0")
    path.write_text(text + "[loss]\nauxiliary_weight = 0\nhard_keypoints = 8\n")
    trainer = Trainer(load_recipe(path), drawn, tmp_path / "run")
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.run()
    after = trainer.network.state_dict()
    assert torch.equal(before["auxiliary_heads.0.weight"], after["auxiliary_heads.0.weight"])
    assert not torch.equal(before["heads.0.weight"], after["heads.0.weight"])


def test_bf16_gives_nearly_the_loss_of_fp32(drawn: Path, tmp_path: Path) -> None:
    first: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        text = (drawn / "recipe.toml").read_text()
        path = tmp_path / "recipe.toml"
        path.write_text(text.replace("[optimizer]", f'[optimizer]\nprecision = "{precision}"'))
        losses: list[float] = []
        trainer = Trainer(load_recipe(path), drawn, tmp_path / precision)
        trainer.run(lambda done, total, loss, losses=losses: losses.append(loss))
        assert all(0 < loss < 1 for loss in losses)
        assert trainer.network.state_dict()["heads.0.weight"].dtype == torch.float32
        first[precision] = losses[0]
    # bfloat16 has 8 bits of mantissa.
    assert first["bf16"] == pytest.approx(first["fp32"], rel=2**-6)
    assert first["bf16"] != first["fp32"]


def test_a_teacher_of_another_skeleton_is_joined_by_name() -> None:
    """The teacher's maps are 2 for b and 1 for a; the student learns a, b and c."""

    class Teacher:
        spec = ModelSpec("t", "heatmap", (8, 8), skeleton=Skeleton("t", ("b", "a")))

        def maps(self, images: Any, transform: str) -> Any:
            return torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(len(images), 2, 8, 8)

        def on_grid(self, maps: Any, *rest: Any) -> Any:
            return maps

    student = Skeleton("s", ("a", "b", "c"))
    view = View((8, 8), (8, 8), "udp", Augmentation(flip=0), student)
    batch = Batch(torch.zeros(2, 8, 8, 3), torch.zeros(2, 3, 2), torch.ones(2, 3), torch.ones(2, 3))
    batch.amplitudes[1] = 0  # shows nobody
    loss = StepLoss(None, view, Teacher())  # type: ignore[arg-type]
    maps, weights = loss._taught(Teacher(), batch, batch.images, [(8, 8)])[8, 8]  # type: ignore[arg-type]
    assert maps[0, :, 0, 0][:2].tolist() == [1, 2]
    assert weights.tolist() == [[1, 1, 0], [0, 0, 0]]
