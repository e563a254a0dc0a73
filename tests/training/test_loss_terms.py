from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.loss import heatmap_loss, pose_loss
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer


def ones(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(2, 3, size[1], size[0]), torch.ones(2, 3)


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
    loss = pose_loss(output, ones, level_weights=(0.5, 2.0), auxiliary_weight=3.0, hard_keypoints=1)
    assert loss.item() == pytest.approx(0.5 * 4 + 2 * 9 + 3 * 1)


def test_a_recipe_gives_one_weight_a_level(drawn: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = (drawn / "recipe.toml").read_text()
    path.write_text(text + "[loss]\nlevel_weights = [1.0, 2.0]\n")
    with pytest.raises(DataError, match="level_weights has 2 values; the network has levels = 1"):
        load_recipe(path)


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
