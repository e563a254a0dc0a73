"""AP against the number of pseudo-labelled people, and against the number of steps.

Usage: python benchmarks/data_curve.py DATA [--parts 0.25 0.5 1] [--steps 250] [--output JSON]

DATA is the data folder of docs/how-to/training.md. Each row trains pcr-mobilenet's pyramid and
decoder on the frozen body from the same start, seed and schedule; the hand-made labels of
coco_train.json are always there, of labels/unlabelled.json only a part of the images, where each
part holds the smaller ones. The largest part is trained a second time with half of the steps. AP
with labelled boxes on images with id % 5 == 0 of coco_train.json and, if DATA has it,
coco_more.json, on which nothing here trains, with 95 % intervals of the difference to the
largest part's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, only, write_json

from pcr_rt.coco.annotations import load_annotations
from pcr_rt.coco.evaluation import bootstrap_difference, evaluate
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.training.checkpoints.checkpoint import network_and_spec
from pcr_rt.training.data.datasets import DataSet, people_from
from pcr_rt.training.recipe import Optimizer, Recipe, Stage, Validation, load_recipe
from pcr_rt.training.torch_engine import TorchEngine
from pcr_rt.training.trainer import Trainer

HAND = DataSet("coco_train.json", "coco_train", fold="train", repeat=2, min_keypoints=3)
HELD_OUT = ("coco_train", "coco_more")
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--parts", type=float, nargs="+", default=(0.25, 0.5, 1.0))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), help="input width, height")
    parser.add_argument("--runs", type=Path, default=Path("runs/data-curve"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    options.runs.mkdir(parents=True, exist_ok=True)
    parts = sorted(options.parts)
    plan = [(part, options.steps) for part in parts] + [(parts[-1], options.steps // 2)]
    rows, results = [], []
    for part, steps in plan:
        row, found = train_and_measure(part, steps, options)
        rows.append(row)
        results.append(found)
        print(json.dumps(row), flush=True)
    reference = results[len(parts) - 1]
    for row, found in zip(rows, results, strict=True):
        for name in found:
            annotations = load_annotations(options.data / f"{name}.json")
            difference = bootstrap_difference(
                annotations, found[name], reference[name], image_ids=held_out(annotations)
            )
            row[f"difference_{name}"] = [round(float(value), 4) for value in difference]
    report = {
        "command": f"python benchmarks/data_curve.py DATA --steps {options.steps} --parts "
        + " ".join(f"{part:g}" for part in parts),
        "machine": machine(),
        "batch": BATCH,
        "rows": rows,
    }
    write_json(options.output, report)


def train_and_measure(
    part: float, steps: int, options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Train once; return the row of the table, and the results on each held-out set."""
    labels = options.runs.resolve() / f"unlabelled-{part:g}.json"
    labels.write_text(
        json.dumps(part_of(load_annotations(options.data / "labels/unlabelled.json"), part))
    )
    unlabelled = DataSet(str(labels), "unlabelled/images")
    shipped = load_recipe("pcr-mobilenet")
    people = [len(people_from(s, options.data, "refuse")) for s in (HAND, unlabelled)]
    stage = Stage(
        tuple(options.size),
        steps / (sum(people) // BATCH),
        rate=4e-3,
        encoder_rate=0.0,
        warmup_steps=min(20, steps // 2),
    )
    recipe: Recipe = dataclasses.replace(
        shipped,
        data=(HAND, unlabelled),
        stage=(stage,),
        validation=Validation(HAND.annotations, HAND.images, every=10**9),
        optimizer=Optimizer(batch=BATCH, weight_decay=1e-4, clip=1.0, ema=0.98),
    )
    folder = options.runs / f"{part:g}-{steps}"
    trainer = Trainer(recipe, options.data, folder)
    assert trainer.lengths() == [steps]
    trainer.run()
    network, spec = network_and_spec(folder / "best.pt")
    estimator = PoseEstimator(
        TorchEngine(network, spec), detector=None, score_threshold=0, nms=None
    )
    row: dict[str, Any] = {
        "part": part,
        "steps": steps,
        "unlabelled_people": people[1],
        "times_seen": round(steps * BATCH / sum(people), 2),
    }
    found = {}
    for name in HELD_OUT:
        file = options.data / f"{name}.json"
        if file.exists():
            ids = held_out(load_annotations(file))
            ap, found[name] = evaluate(estimator, file, options.data / name, image_ids=ids)
            row[f"people_{name}"] = ap.people
            row[f"ap_{name}"] = round(ap.ap, 4)
    return row, found


def held_out(annotations: dict[str, Any]) -> list[int]:
    """List the ids of the images that nothing trains on."""
    return [image["id"] for image in annotations["images"] if image["id"] % 5 == 0]


def part_of(labels: dict[str, Any], part: float) -> dict[str, Any]:
    """Take the first ``part`` of the images, in a random order that is always the same."""
    order = np.random.default_rng(0).permutation(len(labels["images"]))
    return only(labels, [labels["images"][i] for i in order[: round(part * len(order))]])


if __name__ == "__main__":
    main()
