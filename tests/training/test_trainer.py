from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer
from pcr_rt.training.validation import Score


def make(drawn: Path, folder: Path, **options: Any) -> Trainer:
    return Trainer(load_recipe(drawn / "recipe.toml"), drawn, folder, **options)


def flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree, key=str) for leaf in flat(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in flat(item)]
    return [tree]


def assert_same(a: Any, b: Any) -> None:
    leaves_a, leaves_b = flat(a), flat(b)
    assert len(leaves_a) == len(leaves_b)
    for x, y in zip(leaves_a, leaves_b, strict=True):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y


def test_resume_is_bit_exact_and_sigterm_writes_a_checkpoint(drawn: Path, tmp_path: Path) -> None:
    whole = make(drawn, tmp_path / "whole")
    assert whole.lengths() == [4, 2]
    assert whole.run()

    def interrupt(done: int, total: int, loss: float) -> None:
        if done in (1, 4):
            signal.raise_signal(signal.SIGTERM)

    for expected_step in (1, 4):
        part = make(drawn, tmp_path / "part")
        assert not part.run(interrupt)
        assert part.step == expected_step
    assert make(drawn, tmp_path / "part").run()
    for name in ("last.pt", "best.pt"):
        assert_same(
            load_checkpoint(tmp_path / "whole" / name), load_checkpoint(tmp_path / "part" / name)
        )


def test_a_validation_that_is_interrupted_is_made_up_for(drawn: Path, tmp_path: Path) -> None:
    """By Ctrl-C inside it, or in the step before it; the recipe has them at 0, 3, 4 and 6."""
    sizes: list[Any] = []
    interrupts = [True, False] * 4

    def measure(network: Any, stage: Any) -> Score:
        if interrupts and interrupts.pop(0):
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("Ctrl-C waited for the end")
        sizes.append(stage.size)
        return Score(0.1 * len(sizes), 0.5)

    steps = []
    for _ in range(4):
        trainer = make(drawn, tmp_path / "inside", validate=measure)
        assert not trainer.run()
        assert trainer.stopped_by == signal.SIGINT
        steps.append(trainer.step)
    assert steps == [0, 3, 4, 6]
    assert make(drawn, tmp_path / "inside", validate=measure).run()

    late = make(drawn, tmp_path / "before", validate=measure)
    assert not late.run(lambda done, *_: signal.raise_signal(signal.SIGINT) if done == 4 else None)
    assert len(sizes) == 6  # not the one at 4
    assert make(drawn, tmp_path / "before", validate=measure).run()

    assert make(drawn, tmp_path / "whole", validate=measure).run()
    assert sizes == sizes[-4:] * 3
    whole = load_checkpoint(tmp_path / "whole" / "last.pt")
    for name in ("inside", "before"):
        other = load_checkpoint(tmp_path / name / "last.pt")
        assert_same(other["network"], whole["network"])


@pytest.mark.parametrize("content", [{}, {"recipe": 3}, {"recipe": {}, "network": {}}])
def test_a_damaged_checkpoint_does_not_resume(
    drawn: Path, tmp_path: Path, content: dict[str, Any]
) -> None:
    trainer = make(drawn, tmp_path)
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(DataError, match=r"last\.pt (holds something else|belongs to a run)"):
        trainer.resume()


def test_frozen_encoder_stays_and_thawed_encoder_moves(drawn: Path, tmp_path: Path) -> None:
    trainer = make(drawn, tmp_path)
    start = {k: v.clone() for k, v in trainer.network.get_submodule("encoder").state_dict().items()}
    seen = []

    def watch(done: int, total: int, loss: float) -> None:
        now = trainer.network.get_submodule("encoder").state_dict()
        seen.append(all(torch.equal(start[k], now[k]) for k in start))

    trainer.run(watch)
    assert seen == [True] * 4 + [False] * 2


def test_frozen_modules_stay_and_the_rest_of_the_encoder_moves(drawn: Path, tmp_path: Path) -> None:
    text = (drawn / "recipe.toml").read_text()
    text = text.replace("encoder_rate = 0", 'encoder_rate = 1\nfrozen = ["stem", "blocks.0"]')
    second = text.rindex("[[stage]]")
    (drawn / "partly.toml").write_text(text[:second] + text[text.index("[validation]") :])
    trainer = Trainer(load_recipe(drawn / "partly.toml"), drawn, tmp_path)
    start = {k: v.clone() for k, v in trainer.network.get_submodule("encoder").state_dict().items()}
    trainer.run()
    now = trainer.network.get_submodule("encoder").state_dict()
    moved = {k for k in start if not torch.equal(start[k], now[k])}
    frozen = {k for k in start if k.startswith(("stem.", "blocks.0."))}
    assert frozen
    assert not moved & frozen
    assert {k for k in start if k.endswith("weight")} - frozen <= moved
    wrong = text[:second].replace("blocks.0", "block")
    (drawn / "wrong.toml").write_text(wrong + text[text.index("[validation]") :])
    with pytest.raises(DataError, match=r"frozen has 'block'.* stem, blocks"):
        Trainer(load_recipe(drawn / "wrong.toml"), drawn, tmp_path / "wrong").run()


def test_loss_falls_on_images_that_stay_the_same(drawn: Path, tmp_path: Path) -> None:
    text = (
        (drawn / "recipe.toml")
        .read_text()
        .replace("colour = 0.2", "flip = 0\nrotation = 0\nscale = 0\nhalf_body = 0")
    )
    first, second = text.index("[[stage]]"), text.rindex("[[stage]]")
    stage = text[first:second].replace("epochs = 2", "epochs = 20")
    stage = stage.replace("encoder_rate = 0", "encoder_rate = 1")
    (drawn / "still.toml").write_text(text[:first] + stage + text[text.index("[validation]") :])
    losses: list[float] = []
    trainer = Trainer(load_recipe(drawn / "still.toml"), drawn, tmp_path)
    trainer.run(lambda done, total, loss: losses.append(loss))
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_checkpoint_of_another_network_is_refused(drawn: Path, tmp_path: Path) -> None:
    make(drawn, tmp_path).run(lambda done, total, loss: signal.raise_signal(signal.SIGINT))
    text = (drawn / "recipe.toml").read_text().replace("[16, 16, 16]", "[16, 16, 8]")
    (drawn / "other.toml").write_text(text)
    with pytest.raises(DataError, match="another network"):
        Trainer(load_recipe(drawn / "other.toml"), drawn, tmp_path).run()


def test_a_run_does_not_go_on_with_another_recipe(drawn: Path, tmp_path: Path) -> None:
    make(drawn, tmp_path).run(lambda done, total, loss: signal.raise_signal(signal.SIGINT))
    recipe = replace(load_recipe(drawn / "recipe.toml"), seed=9)
    with pytest.raises(DataError, match="another seed"):
        Trainer(recipe, drawn, tmp_path).run()


def test_nothing_is_left_of_a_stage_that_froze(drawn: Path, tmp_path: Path) -> None:
    """Thawed, then frozen: no gradients clip the rest's, and the average comes to the weights."""
    recipe = load_recipe(drawn / "recipe.toml")
    frozen, thawed = recipe.stage
    options = replace(recipe.optimizer, ema=0.5, frozen_norms="encoder")
    stages = (replace(thawed, epochs=1.0), replace(frozen, epochs=30.0))
    recipe = replace(recipe, stage=stages, optimizer=options)
    trainer = Trainer(recipe, drawn, tmp_path)
    trainer.run()
    weights = trainer.network.get_submodule("encoder").named_parameters()
    average = dict(trainer.average.get_submodule("encoder").named_parameters())
    for name, weight in weights:
        assert weight.grad is None, name
        torch.testing.assert_close(average[name], weight.detach(), rtol=1e-5, atol=1e-6)


def test_unwritable_run_folder(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        make(drawn, tmp_path / "file" / "run")
