from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.targets import draw_heatmaps
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.networks.registry import build
from pcr_rt.training.recipe import Recipe, Stage, Validation, load_recipe, skeleton_of
from pcr_rt.training.trainer import Trainer
from pcr_rt.training.validation import metric_of, preview, validation


def test_validation_scores_through_the_runtime(drawn: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    recipe = load_recipe(drawn / "recipe.toml")
    trainer = Trainer(recipe, drawn, tmp_path, validate=validation(recipe, drawn))
    trainer.run()
    best = load_checkpoint(tmp_path / "best.pt")
    assert 0 <= best["score"] <= 1
    assert [checked.step for checked in trainer.history] == [0, 3, 4, 6]
    assert best["step"] in (0, 3, 4, 6)
    assert best["score"] == max(checked.value for checked in trainer.history)
    again = Trainer(recipe, drawn, tmp_path)
    again.resume()
    assert again.history == trainer.history


class Centre(torch.nn.Module):
    """Finds all of three keypoints in the middle of the crop."""

    def __init__(self) -> None:
        super().__init__()
        self.height = torch.nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> PoseMaps:
        points = torch.tensor([[11.5, 15.5]]).expand(len(images), 3, 2)
        return PoseMaps(
            [draw_heatmaps(points, self.height.expand(len(images), 3), (24, 32), 1)], []
        )


def test_without_sigmas_the_distances_count(tmp_path: Path) -> None:
    """0, 5.5 and 30 % of the longer side: PCK is 1/3 up to 5 %, then 2/3; one is not labelled."""
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((300, 300, 3), np.uint8))
    keypoints = [150, 150, 2, 150, 161, 2, 90, 150, 1]
    people = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [100, 50, 100, 200]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [100, 50, 100, 200]},
    ]
    people[0]["keypoints"] = keypoints
    people[1]["keypoints"] = [0] * 9
    labels = {
        "images": [{"id": 1, "file_name": "1.png", "width": 300, "height": 300}],
        "annotations": people,
        "categories": [{"id": 1, "name": "bar", "keypoints": ["a", "b", "c"]}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    recipe = Recipe(
        name="bar",
        network={},
        data=(),
        stage=(),
        validation=Validation("labels.json", ""),
        augmentation=Augmentation(flip=0),
    )
    score = validation(recipe, tmp_path)(Centre(), Stage((96, 128), 1))
    assert score.value == pytest.approx((5 / 3 + 5 * 2 / 3) / 10)
    assert score.pck == pytest.approx(2 / 3)
    assert metric_of(skeleton_of(recipe, tmp_path)) == "PCK AUC"
    # With sigmas it is AP by them: the mean term is near 1 for wide ones, 1/3 for narrow ones.
    for sigma, ap in ((10.0, 1), (0.001, 0)):
        table = {"name": "bar", "keypoints": ["a", "b", "c"], "sigmas": [sigma] * 3}
        with_sigmas = replace(recipe, skeleton=table)
        found = validation(with_sigmas, tmp_path)(Centre(), Stage((96, 128), 1))
        assert found.value == pytest.approx(ap)
        assert metric_of(skeleton_of(with_sigmas, tmp_path)) == "AP"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"images": "nowhere"}, "are not in"), ({"annotations": "nobody.json"}, "labels nobody")],
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
