from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint
from pcr_rt.training.networks.registry import build
from pcr_rt.training.recipe import load_recipe
from pcr_rt.training.trainer import Trainer
from pcr_rt.training.validation import preview, validation


def test_validation_scores_through_the_runtime(drawn: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    recipe = load_recipe(drawn / "recipe.toml")
    trainer = Trainer(recipe, drawn, tmp_path, validate=validation(recipe, drawn))
    trainer.run()
    best = load_checkpoint(tmp_path / "best.pt")
    assert 0 <= best["score"] <= 1
    assert best["step"] in (3, 4, 6)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"images": "nowhere"}, "does not exist"), ({"annotations": "nobody.json"}, "labels nobody")],
)
def test_validation_that_cannot_work_is_refused_at_once(
    drawn: Path, change: dict[str, str], words: str
) -> None:
    pytest.importorskip("pycocotools")
    data = json.loads((drawn / "labels.json").read_text())
    people = [{**a, "keypoints": [0] * 51, "num_keypoints": 0} for a in data["annotations"]]
    (drawn / "nobody.json").write_text(json.dumps({**data, "annotations": people}))
    recipe = load_recipe(drawn / "recipe.toml")
    with pytest.raises(DataError, match=words):
        validation(replace(recipe, validation=replace(recipe.validation, **change)), drawn)


def test_the_preview_shows_every_chosen_image(drawn: Path) -> None:
    pytest.importorskip("pycocotools")
    recipe = load_recipe(drawn / "recipe.toml")
    sheet = preview(recipe, drawn)(build(recipe.network).eval(), recipe.stage[0])
    assert sheet.shape == (2 * 240, 3 * 320, 3)
    # The images' grey is in the middle of each of the six cells.
    assert all(
        sheet[240 * r + 40 : 240 * r + 200, 320 * c + 100 : 320 * c + 220].max() > 50
        for r in range(2)
        for c in range(3)
    )
