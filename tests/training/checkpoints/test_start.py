from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import fill, load_checkpoint, save_checkpoint
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_every_kind_of_difference_is_listed_and_nothing_is_changed() -> None:
    network = small()
    before = network[0].bias.detach().clone()
    given = dict(small().state_dict())
    del given["0.weight"]
    given["head.bias"] = torch.zeros(1)
    given["1.weight"] = torch.zeros(1, 4)
    with pytest.raises(DataError) as error:
        fill(network, given, "x.pt")
    message = str(error.value)
    assert "1 missing (0.weight)" in message
    assert "1 unexpected (head.bias)" in message
    assert "1 misshaped (1.weight (1, 4) for (1, 3))" in message
    assert torch.equal(network[0].bias, before)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_run_starts_from_the_best_of_another(drawn: Path, tmp_path: Path, absolute: bool) -> None:
    first = Trainer(load_recipe(drawn / "recipe.toml"), drawn, drawn / "runs" / "first")
    first.run()
    start = str(drawn / "runs" / "first") if absolute else "runs/first/best.pt"
    recipe = tmp_path / "again.toml"
    recipe.write_text(f'start = "{start}"\n' + (drawn / "recipe.toml").read_text())
    again = Trainer(load_recipe(recipe), drawn, tmp_path / "again")
    best = load_checkpoint(drawn / "runs" / "first" / "best.pt")["network"]
    for network in (again.network, again.average):
        for key, value in network.state_dict().items():
            assert torch.equal(value, best[key]), key
    assert again.step == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"network": {"a": torch.zeros(1)}}, "unexpected"),
        ({"weights": 1}, "no checkpoint of a run"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    drawn: Path, tmp_path: Path, content: dict[str, object], words: str
) -> None:
    save_checkpoint(tmp_path / "other.pt", content)
    recipe = tmp_path / "recipe.toml"
    text = (drawn / "recipe.toml").read_text()
    recipe.write_text(f'start = "{tmp_path / "other.pt"}"\n' + text)
    with pytest.raises(DataError, match=words):
        Trainer(load_recipe(recipe), drawn, tmp_path / "run")


def test_a_start_on_other_crops_is_refused(drawn: Path, tmp_path: Path) -> None:
    Trainer(load_recipe(drawn / "recipe.toml"), drawn, tmp_path / "run").run()
    recipe, text = tmp_path / "recipe.toml", (drawn / "recipe.toml").read_text()
    recipe.write_text(f'start = "{tmp_path / "run"}"\n{text}\n[input]\nmean = [0.0, 0.0, 0.0]\n')
    with pytest.raises(DataError, match="other crops"):
        Trainer(load_recipe(recipe), drawn, tmp_path / "other")


def test_a_resumed_run_does_without_its_start(drawn: Path, tmp_path: Path) -> None:
    whole = Trainer(load_recipe(drawn / "recipe.toml"), drawn, tmp_path / "run")
    whole.run()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('start = "gone.pt"\n' + (drawn / "recipe.toml").read_text())
    again = Trainer(load_recipe(recipe), drawn, tmp_path / "run")
    assert again.run()
    assert again.step == whole.step
    for key, value in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[key], value), key
