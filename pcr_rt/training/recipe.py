"""Recipes: what to train, on what, for how long. A TOML file, checked before anything starts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pcr_rt.errors import DataError
from pcr_rt.models import PersonScore
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.datasets import FORMATS, DataSet
from pcr_rt.training.data.input import Input
from pcr_rt.training.data.person import Broken
from pcr_rt.training.typed_tables import read_typed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Loss",
    "Optimizer",
    "Recipe",
    "Stage",
    "Validation",
    "load_recipe",
    "sources_of",
]


@dataclass(frozen=True)
class Stage:
    """A part of the schedule with its own input size (w, h) and rates.

    encoder_rate multiplies ``rate`` for the encoder; 0 freezes it. frozen: modules of the encoder
    that stay as they are nevertheless, by name. data: names of the data sets of this stage; all of
    them unless given. An epoch is a pass over those without a share.
    """

    size: tuple[int, int]
    epochs: float
    rate: float = 1e-3
    encoder_rate: float = 1.0
    frozen: tuple[str, ...] = ()
    schedule: Literal["cosine", "step"] = "cosine"
    warmup_steps: int = 0
    steps: tuple[float, ...] = ()
    final_rate: float = 0.01
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Optimizer:
    """AdamW (Adam at weight_decay 0). frozen_norms: which batch norms keep their
    statistics. clip: largest gradient norm, 0 for none. ema: decay of the averaged weights."""

    batch: int = 128
    weight_decay: float = 0.0
    clip: float = 0.0
    ema: float = 0.999
    frozen_norms: Literal["none", "encoder", "all"] = "none"
    precision: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True)
class Loss:
    """What the terms of the loss weigh.

    level_weights: one per level, 1 unless given. auxiliary_weight: of each auxiliary head (AD).
    hard_keypoints: how many keypoints of a person the last level learns from, the worst ones; 0 for
    all. teacher: a model whose heatmaps are learnt too, with ``teacher_weight``: a shipped model's
    name, or an .onnx file, checkpoint or run folder, absolute or relative to the data folder.
    teacher_flip_test: its heatmaps are averaged with those of the mirrored view.
    """

    level_weights: tuple[float, ...] = ()
    auxiliary_weight: float = 1.0
    hard_keypoints: int = 0
    teacher: str = ""
    teacher_flip_test: bool = False
    teacher_weight: float = 1.0


@dataclass(frozen=True)
class Validation:
    """What checkpoints are chosen on, and every how many steps."""

    annotations: str
    images: str
    fold: Literal["all", "train", "dev"] = "all"
    every: int = 1000


@dataclass(frozen=True)
class Recipe:
    """A whole training run.

    broken: whether a broken image or annotation ends the run or is left out with a warning.
    start: what the network's weights start from, a shipped model's name, or an exported model file,
    checkpoint or run folder, absolute or relative to the data folder; the schedule starts anew.
    encoder_weights: what the encoder alone starts from. person_score: the rule by which the trained
    model ranks people, see ``ModelSpec``.
    """

    name: str
    network: dict[str, Any]
    data: tuple[DataSet, ...]
    stage: tuple[Stage, ...]
    validation: Validation
    input: Input = field(default_factory=Input)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: Loss = field(default_factory=Loss)
    encoder_weights: str = ""
    start: str = ""
    broken: Broken = "refuse"
    person_score: PersonScore = "rms"
    seed: int = 0


def load_recipe(path: Path | str) -> Recipe:
    """Read the recipe of a TOML file, or a shipped one by its name.

    Raises DataError with key, value and what is allowed when something in it is wrong.
    """
    file = Path(path)
    if not file.suffix:
        file = Path(__file__).parent / "recipes" / f"{path}.toml"
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = sorted(p.stem for p in (Path(__file__).parent / "recipes").glob("*.toml"))
        raise DataError(f"There is no recipe {path}; shipped are {', '.join(known)}.") from None
    except OSError as error:
        raise DataError(f"The recipe {file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"The recipe {file} is not valid TOML: {error}.") from None
    recipe: Recipe = read_typed(Recipe, table, file.name)
    for key, wrong, allowed in (
        ("stage", not recipe.stage, "one or more"),
        ("validation: every", recipe.validation.every < 1, "1 and more"),
        # A batch norm learns nothing from a single sample.
        ("optimizer: batch", recipe.optimizer.batch < 2, "2 and more"),
        ("optimizer: ema", recipe.optimizer.ema >= 1, "values below 1"),
    ):
        if wrong:
            raise DataError(f"{file.name}: {key} is out of range; allowed are {allowed}.")
    _check_data(recipe, file.name)
    levels = recipe.network.get("levels", 1)
    if recipe.loss.level_weights and len(recipe.loss.level_weights) != levels:
        raise DataError(
            f"{file.name}: loss: level_weights has {len(recipe.loss.level_weights)} values; the"
            f" network has levels = {levels}, give one per level."
        )
    return recipe


def _check_data(recipe: Recipe, where: str) -> None:
    """Raise DataError if stages and data sets do not fit together."""
    names = [source.name for source in recipe.data if source.name]
    if len(set(names)) < len(names):
        raise DataError(f"{where}: data: two sets have the same name; allowed are unique names.")
    for i, source in enumerate(recipe.data):
        here = f"{where}: data[{i}]"
        if source.format not in FORMATS:
            raise DataError(
                f"{here}: format is {source.format!r}; allowed are {', '.join(map(repr, FORMATS))}."
            )
        if source.format == "hard_negatives" and not source.detections:
            raise DataError(f"{here} needs the key 'detections' with format 'hard_negatives'.")
        if source.format == "hard_negatives" and not source.share:
            raise DataError(f"{here}: share is 0; hard negatives need a share above 0, below 1.")
        if source.share >= 1:
            raise DataError(f"{here}: share is {source.share}; allowed are parts of 1, from 0 on.")
    for i, stage in enumerate(recipe.stage):
        for name in stage.data:
            if name not in names:
                raise DataError(
                    f"{where}: stage[{i}]: data has {name!r}; allowed are"
                    f" {', '.join(map(repr, names)) or 'names of data sets, which have none here'}."
                )
        used = sources_of(recipe, stage)
        if sum(source.share for source in used) >= 1 or all(source.share for source in used):
            raise DataError(
                f"{where}: stage[{i}]: the shares of its data sets leave no room; it needs a set"
                " without a share, and shares that add up to less than 1."
            )


def sources_of(recipe: Recipe, stage: Stage) -> list[DataSet]:
    """Return the data sets of a stage."""
    return [s for s in recipe.data if not stage.data or s.name in stage.data]
