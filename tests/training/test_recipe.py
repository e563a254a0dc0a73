from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from pcr_rt.errors import DataError
from pcr_rt.skeleton import COCO17
from pcr_rt.training.networks.encoder import check_input_size
from pcr_rt.training.networks.registry import build
from pcr_rt.training.recipe import load_recipe, skeleton_of

GOOD = """
name = "x"
[network]
encoder = "efficientnet-lite0"
[[data]]
annotations = "a.json"
images = "a"
[[stage]]
size = [96, 128]
epochs = 2
[validation]
annotations = "b.json"
images = "b"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert recipe.stage[0].size == (96, 128)
    assert recipe.stage[0].rate == 1e-3
    assert recipe.optimizer.batch == 128
    assert recipe.augmentation.half_body == 0.3


@pytest.mark.parametrize(
    "name", ["pcr-tiny", "pcr-tiny-frozen", "pcr-tiny-wide", "pcr-nano", "pcr-mobilenet"]
)
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    network = build(recipe.network)
    for stage in recipe.stage:
        check_input_size(network, stage.size)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "x"', "", "name"),
        ("epochs = 2", 'epochs = "2"', "epochs"),
        ("epochs = 2", "epochs = true", "epochs"),
        ("epochs = 2", "epochs = -2", "negative"),
        ("epochs = 2", 'epochs = 2\nschedule = "linear"', "allowed are 'cosine', 'step'"),
        ("epochs = 2", "epochs = 2\nepoch = 3", "no key 'epoch'"),
        ("size = [96, 128]", "size = [96]", "2 values"),
        ("size = [96, 128]", "size = 96", "list"),
        ('images = "a"', 'images = "a"\nformat = "mpii"', r"data\[0\]: format is 'mpii'.*'lsp'"),
        ("[network]", "[network", "TOML"),
        ("epochs = 2", "epochs = inf", "finite"),
        ('images = "b"', 'images = "b"\nevery = 0', "every is out of range"),
        ("[validation]", "[optimizer]\nema = 1.5\n[validation]", "ema is out of range"),
        ("[validation]", "[optimizer]\nbatch = 0\n[validation]", "batch is out of range"),
        ("[validation]", "[optimizer]\nbatch = 1.5\n[validation]", "batch"),
        ("[validation]", "[optimizer]\nbatch = 1\n[validation]", "2 and more"),
    ],
)
def test_wrong_recipes_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_recipe(write(tmp_path, GOOD.replace(old, new)))


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('name = "für"'.encode("latin-1"))
    (tmp_path / "folder.toml").mkdir()
    for name, words in (("latin.toml", "not valid TOML"), ("folder.toml", "cannot be read")):
        with pytest.raises(DataError, match=words):
            load_recipe(tmp_path / name)


def test_a_recipe_gives_one_weight_a_level(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "[loss]\nlevel_weights = [1.0, 2.0]\n")
    with pytest.raises(DataError, match="level_weights has 2 values; the network has levels = 1"):
        load_recipe(path)


def test_unknown_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(DataError, match="pcr-mobilenet"):
        load_recipe("pcr-huge")


def test_a_skeleton_is_a_name_a_file_a_table_or_the_validation_files(tmp_path: Path) -> None:
    still = "\n[augmentation]\nflip = 0\n"
    table = '[skeleton]\nname = "bar"\nkeypoints = ["a", "b"]\n'
    (tmp_path / "bar.toml").write_text('name = "bar"\nkeypoints = ["a", "b"]\n')
    category = {"id": 1, "name": "bar", "keypoints": ["a", "b"]}
    labels: dict[str, Any] = {"categories": [category]}
    labels["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 2] * 2}]
    labels["images"] = [{"id": 1, "file_name": "1.jpg"}]
    (tmp_path / "b.json").write_text(json.dumps(labels))
    for text, name, count in (
        ('skeleton = "hand21"\n' + GOOD + still, "hand21", 21),
        ('skeleton = "bar.toml"\n' + GOOD + still, "bar", 2),
        (GOOD + still + table, "bar", 2),
        (GOOD + still, "bar", 2),
    ):
        skeleton = skeleton_of(load_recipe(write(tmp_path, text)), tmp_path)
        assert (skeleton.name, len(skeleton)) == (name, count)
    with pytest.raises(DataError, match=r"'bar'.* mirror images.*flip = 0"):
        skeleton_of(load_recipe(write(tmp_path, GOOD)), tmp_path)
    with pytest.raises(DataError, match="skeleton must be a name or a table, not 3"):
        load_recipe(write(tmp_path, "skeleton = 3\n" + GOOD))
    labels["categories"] = []
    (tmp_path / "b.json").write_text(json.dumps(labels))
    assert skeleton_of(load_recipe(write(tmp_path, GOOD)), tmp_path) == COCO17
