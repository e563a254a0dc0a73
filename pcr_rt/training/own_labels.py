"""A recipe for labels of one's own: from a model and a file of labels to a whole training run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcr_rt.coco.annotations import load_annotations
from pcr_rt.coco.record_images import image_path
from pcr_rt.errors import DataError
from pcr_rt.export.compare import fp32_spec
from pcr_rt.files import make_folder, write_whole
from pcr_rt.geometry import Size
from pcr_rt.skeleton import COCO17, Skeleton, shipped_skeletons
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint, reading
from pcr_rt.training.checkpoints.start import weights_file
from pcr_rt.training.data.coco import category_skeleton, people_of
from pcr_rt.training.data.yolo import YoloSet

__all__ = ["OwnRun", "from_coco", "from_yolo", "write_run"]

BATCH = 16
PASSES, LEAST_STEPS, MOST_STEPS = 20, 200, 2000
"""Passes over the people with the encoder frozen, and the bounds of their steps."""
HELD_OUT = 5
"""One labelled image of so many is held out, unless the data set has a part for it."""
VALIDATIONS = 10
RECIPE, TRAIN, HELD = "recipe.toml", "labels-train.json", "labels-held-out.json"


@dataclass(frozen=True)
class Labels:
    """Labels split by image, as COCO records, and the folder of the images."""

    train: dict[str, Any]
    held_out: dict[str, Any]
    images: Path
    skeleton: Skeleton
    ignore_exif: bool = False
    """They were made on the images as stored, without their EXIF turn."""


@dataclass(frozen=True)
class OwnRun:
    """What `write_run` wrote: the recipe's file, and how many images train and are held out."""

    recipe: Path
    train: int
    held_out: int


def from_coco(labels: Path, images: Path, *, ignore_exif: bool = False) -> Labels:
    """Read and split a COCO file of any keypoints. Raises DataError if it cannot be used."""
    data = load_annotations(labels)
    skeleton = category_skeleton(data, labels) or COCO17
    return Labels(*_split(data, labels), images.absolute(), skeleton, ignore_exif)


def from_yolo(data: Path, *, ignore_exif: bool = False) -> Labels:
    """Read a YOLO-pose data set; its ``val`` part is held out. Raises DataError as `YoloSet`."""
    source = YoloSet(data)
    train = source.part("train")
    held_out = [image for image in source.part("val", "valid") if image not in set(train)]
    images = data.parent.absolute()
    read = source.as_coco(train, ignore_exif=ignore_exif)
    parts = _split(read, data)
    if held_out:
        parts = read, source.as_coco(held_out, ignore_exif=ignore_exif)
    return Labels(*parts, images, source.skeleton, ignore_exif)


def _split(data: dict[str, Any], where: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split by image, at random but always alike; images without a label are left out."""
    labelled = {
        a["image_id"]
        for a in data["annotations"]
        if not a.get("iscrowd") and any(v > 0 for v in (a.get("keypoints") or ())[2::3])
    }
    images = [image for image in data["images"] if image["id"] in labelled]
    if len(images) < 2:
        raise DataError(
            f"{where} has {len(images)} images with labelled keypoints: two are the least, one to"
            " train on and one to hold out; some dozens make a useful model."
        )
    order = np.random.default_rng(0).permutation(len(images))
    held = {images[i]["id"] for i in order[: max(len(images) // HELD_OUT, 1)]}

    def part(is_held: bool) -> dict[str, Any]:
        chosen = [image for image in images if (image["id"] in held) == is_held]
        ids = {image["id"] for image in chosen}
        annotations = [a for a in data["annotations"] if a["image_id"] in ids]
        return {**data, "images": chosen, "annotations": annotations}

    return part(False), part(True)


def write_run(model: str, labels: Labels, folder: Path) -> OwnRun:
    """Write recipe and split labels into the run folder, for ``Trainer(recipe, folder, folder)``.

    model: what the training starts from: a shipped model, an exported model file, or a run. A
    folder whose run has begun must have been written from the same. Raises DataError if it was
    not, and if nobody is labelled.
    """
    for part in (labels.train, labels.held_out):
        for image in part["images"]:
            if not image_path(labels.images, image).is_file():
                raise DataError(f"{image_path(labels.images, image)} does not exist.")
    people = people_of(labels.train, folder / TRAIN, labels.images, skeleton=labels.skeleton)
    if not people:
        raise DataError("Nobody is labelled in the images to train on.")
    files = {
        RECIPE: _recipe(model, labels, folder, len(people)),
        TRAIN: json.dumps(labels.train),
        HELD: json.dumps(labels.held_out),
    }
    make_folder(folder)
    for name, text in files.items():
        file = folder / name
        if (folder / "last.pt").exists():
            if not file.is_file() or file.read_text(encoding="utf-8") != text:
                raise DataError(
                    f"{folder} holds a run with another {name}: name another output; or, to go on"
                    f" with that run, pcr-rt train {folder / RECIPE} --data {folder} -o {folder}."
                )
        else:
            write_whole(file, text.encode())
    return OwnRun(folder / RECIPE, len(labels.train["images"]), len(labels.held_out["images"]))


def _recipe(model: str, labels: Labels, folder: Path, people: int) -> str:
    start, before, size, skeleton = _start(model)
    alike = skeleton == labels.skeleton
    per_pass = max(people // BATCH, 1)
    frozen = min(max(PASSES * per_pass, LEAST_STEPS), MOST_STEPS)
    thawed = frozen // 2
    levels = before["network"].get("levels", 1)
    of = labels.skeleton
    named = of.name in shipped_skeletons() and Skeleton.load(of.name) == of
    rate = 3e-4 if alike else 2e-3
    top = {"name": folder.absolute().name, "start": start, "seed": 1}
    images = str(labels.images)
    exif = {"ignore_exif": True} if labels.ignore_exif else {}
    tables: list[tuple[str, str, dict[str, Any]]] = [
        ("network", f"that of {model}", before["network"]),
        ("input", "how its crops are made", before["input"]),
        (
            "augmentation",
            "mirrored views need the mirror pairs of the keypoints",
            {
                "flip": 0.0 if of.pairs is None else 0.5,
                "rotation": 30,
                "scale": 0.25,
                "shift": 0.04,
                "half_body": 0.15 if of.upper else 0.0,
                "colour": 0.2,
            },
        ),
        (
            "optimizer",
            "a model file's batch norms are folded, so their statistics stay",
            {"batch": BATCH, "weight_decay": 1e-4, "clip": 1.0, "ema": 0.99, "frozen_norms": "all"},
        ),
        (
            "loss",
            "a model file has the head of the last level alone",
            {"level_weights": [0.0] * (levels - 1) + [1.0], "auxiliary_weight": 0.0},
        ),
        (
            "[stage]",
            f"{frozen} steps with the encoder frozen",
            {
                "size": list(size),
                "epochs": frozen / per_pass,
                "rate": rate,
                "encoder_rate": 0.0,
                "warmup_steps": 20,
            },
        ),
        (
            "[stage]",
            f"{thawed} steps of the whole network, the encoder slowly",
            {
                "size": list(size),
                "epochs": thawed / per_pass,
                "rate": round(rate / 3, 5),
                "encoder_rate": 0.1,
                "warmup_steps": 20,
            },
        ),
        ("[data]", "what is learnt", {"annotations": TRAIN, "images": images, **exif}),
        (
            "validation",
            "what the best checkpoint is chosen on",
            {
                "annotations": HELD,
                "images": images,
                **exif,
                "every": max((frozen + thawed) // VALIDATIONS, 1),
            },
        ),
    ]
    if named:
        top["skeleton"] = of.name
    else:
        tables.insert(0, ("skeleton", "the keypoints, in the order of the labels", of.to_table()))
    text = (
        f"# Written by pcr-rt train --from {model}. To change it, copy it and run\n"
        f"# pcr-rt train COPY.toml --data {folder} --output ANOTHER\n{_lines(top)}"
    )
    for title, meaning, table in tables:
        text += f"\n# {meaning}\n[{title}]\n{_lines(table)}"
    return text


def _start(model: str) -> tuple[str, dict[str, Any], Size, Skeleton]:
    """What to start from: ``start``, the recipe that it was trained by, input size, skeleton."""
    path = weights_file(model, Path())
    before: Any
    size: Any
    if path.suffix == ".onnx":
        spec = fp32_spec(path)
        before, size, skeleton = spec.provenance.get("recipe"), spec.input_size, spec.skeleton
    else:
        content = load_checkpoint(path / "best.pt" if path.is_dir() else path)
        before, size = content.get("recipe"), content.get("size")
        table = content.get("skeleton")
        skeleton = COCO17 if table is None else Skeleton.from_table(table, str(path))
    if not (isinstance(before, dict) and "network" in before and size):
        raise DataError(
            f"{model} does not say what network it is: start from a shipped model (pcr-tiny,"
            " pcr-nano), a file of pcr-rt export, or the folder of a run."
        )
    start = model if path != Path(model) else str(path.absolute())
    with reading(path):
        return start, before, (int(size[0]), int(size[1])), skeleton


def _lines(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {_toml(v)}\n" for key, v in table.items() if v is not None)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    # TOML's strings, numbers and truth values are JSON's.
    return json.dumps(value, ensure_ascii=False)
