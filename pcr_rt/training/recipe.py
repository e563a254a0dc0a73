"""Recipes: what to train, on what, for how long. A TOML file, checked before anything starts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pcr_rt.coco.annotations import load_annotations
from pcr_rt.errors import DataError
from pcr_rt.models import PersonScore
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.coco import category_skeleton
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
    "skeleton_of",
    "sources_of",
]


@dataclass(frozen=True)
class Stage:
    """A part of the schedule, with an input size and learning rates of its own."""

    size: tuple[int, int]
    """Width and height of the crops; multiples of 32."""
    epochs: float
    """Length: passes over the stage's data sets, those with a ``share`` not counted."""
    rate: float = 1e-3
    """Learning rate after the warm-up."""
    encoder_rate: float = 1.0
    """What multiplies ``rate`` for the encoder; 0 freezes it."""
    frozen: tuple[str, ...] = ()
    """Modules of the encoder that stay as they are nevertheless, by name."""
    schedule: Literal["cosine", "step"] = "cosine"
    """A cosine down to ``final_rate``, or a tenth at each of ``steps``."""
    warmup_steps: int = 0
    """Steps in which the rate rises from near 0."""
    steps: tuple[float, ...] = ()
    """When the rate falls with ``step``, as fractions of the stage."""
    final_rate: float = 0.01
    """Where the cosine ends, as a fraction of ``rate``."""
    data: tuple[str, ...] = ()
    """Names of the data sets of this stage; all of them unless given."""


@dataclass(frozen=True)
class Optimizer:
    """AdamW, batches and averaged weights."""

    batch: int = 128
    """People of a step; 2 or more."""
    weight_decay: float = 0.0
    """Of AdamW; at 0 it is Adam."""
    clip: float = 0.0
    """Largest norm of the gradient; 0 for none."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones that are validated and exported."""
    frozen_norms: Literal["none", "encoder", "all"] = "none"
    """Which batch norms keep their statistics; ``all`` if ``start`` is a model file."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the network's computations."""


@dataclass(frozen=True)
class Loss:
    """What the terms of the loss weigh."""

    level_weights: tuple[float, ...] = ()
    """One per level; 1 unless given."""
    auxiliary_weight: float = 1.0
    """Of each auxiliary head."""
    hard_keypoints: int = 0
    """How many keypoints of a person the last level learns from, the worst ones; 0 for all."""
    teacher: str = ""
    """A model whose heatmaps are learnt too: a shipped name, an .onnx file, a checkpoint or the
    folder of a run, absolute or relative to the data folder."""
    teacher_flip_test: bool = False
    """Average the teacher's heatmaps with those of the mirrored view."""
    teacher_weight: float = 1.0
    """Of the teacher's term."""


@dataclass(frozen=True)
class Validation:
    """What the checkpoint to keep is chosen on: labelled images, AP or PCK with labelled boxes."""

    annotations: str
    """COCO JSON, relative to the data folder or absolute."""
    images: str
    """The folder of its images."""
    fold: Literal["all", "train", "dev"] = "all"
    """``dev``: only images whose id is divisible by 5; ``train``: only the others."""
    ignore_exif: bool = False
    """Whether the labels were made on the images as they are stored, without their EXIF turn."""
    every: int = 1000
    """Steps from one validation to the next; each stage ends with one too."""


@dataclass(frozen=True)
class Recipe:
    """A whole training run."""

    name: str
    """Of the run, and of the model that it exports."""
    network: dict[str, Any]
    """Encoder and decoder, see [networks](networks.md#the-table-of-a-recipe)."""
    data: tuple[DataSet, ...]
    """The data sets to train on."""
    stage: tuple[Stage, ...]
    """The schedule; stages follow each other."""
    validation: Validation
    """What checkpoints are chosen on."""
    input: Input = field(default_factory=Input)
    """How crops enter the network."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How much the views of a person vary."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """How the network learns."""
    loss: Loss = field(default_factory=Loss)
    """What it learns."""
    encoder_weights: str = ""
    """What the encoder alone starts from, see
    [training](../how-to/training.md#starting-from-weights)."""
    start: str = ""
    """What the network starts from: a shipped model's name, or an exported model file, checkpoint
    or run folder, absolute or relative to the data folder."""
    broken: Broken = "refuse"
    """Whether a broken image or annotation ends the run, or is left out with a warning."""
    person_score: PersonScore = "rms"
    """The function of a person's keypoint scores by which the trained model ranks people."""
    skeleton: str | dict[str, Any] = ""
    """The keypoints to learn: a shipped skeleton's name, a .toml file relative to the data folder,
    or a table; unless given those of the validation file's category, COCO's 17 if it names none."""
    seed: int = 0
    """Of everything that is drawn at random."""


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


def skeleton_of(recipe: Recipe, data: Path) -> Skeleton:
    """Return the skeleton that a run learns; ``data`` is its data folder.

    Raises InputError for a skeleton that cannot be read, DataError if the recipe mirrors views of
    one whose mirror images are unknown.
    """
    given = recipe.skeleton
    if isinstance(given, dict):
        skeleton = Skeleton.from_table(given, f"the recipe {recipe.name!r}")
    elif given:
        skeleton = Skeleton.load(data / given if given.endswith(".toml") else given)
    else:
        file = data / recipe.validation.annotations
        skeleton = category_skeleton(load_annotations(file), file) or COCO17
    if recipe.augmentation.flip and skeleton.pairs is None:
        raise DataError(
            f"The skeleton {skeleton.name!r} does not say which keypoints are mirror images: give"
            " it 'pairs', or set flip = 0 in [augmentation]."
        )
    return skeleton
