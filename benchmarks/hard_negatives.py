"""Peak heatmap scores on a detector's false boxes, trained with and without hard negatives.

Usage: python benchmarks/hard_negatives.py DATA START [--steps 120] [--runs FOLDER] [--output JSON]

DATA holds coco_train.json and coco_train/; START is a run or checkpoint whose network is trained
on twice from the same weights, with the same people, seed and number of steps, the encoder frozen:
once as it is, once with a quarter of every batch made of RTMDet-nano's boxes that touch nobody.
Images with id % 5 == 0 are held out. Compared there: the highest keypoint score in each false
box, the same in each labelled person's box, how often a true box has more than a false one, and AP
with ground-truth boxes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json

from pcr_rt.coco.annotations import load_annotations
from pcr_rt.coco.evaluation import evaluate
from pcr_rt.inference.detector import Detector
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.media import read_image
from pcr_rt.training.checkpoints.checkpoint import load_checkpoint, network_and_spec
from pcr_rt.training.data.datasets import DataSet, in_fold, people_from
from pcr_rt.training.data.hard_negatives import detect, read_hard_negatives
from pcr_rt.training.data.input import Input
from pcr_rt.training.data.person import Person
from pcr_rt.training.recipe import Optimizer, Recipe, Stage, Validation, sources_of
from pcr_rt.training.torch_engine import TorchEngine
from pcr_rt.training.trainer import Trainer

MIN_SCORE = 0.2
BATCH, SHARE = 32, 0.25
COCO = ("coco_train.json", "coco_train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--runs", type=Path, default=Path("runs/hard-negatives"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    options.runs.mkdir(parents=True, exist_ok=True)
    detections = options.runs.resolve() / "detections.json"
    false_boxes = boxes_of_nobody(options.data / COCO[0], options.data / COCO[1], detections)
    held_out = in_fold(false_boxes, "dev")
    people = people_from(DataSet(*COCO, fold="dev"), options.data, "refuse")

    best = options.start / "best.pt" if options.start.is_dir() else options.start
    rows = {"start": measure(best, options.data, held_out, people)}
    for name, negatives in (("without", False), ("with", True)):
        trained = train(best, options.data, options.runs / name, detections, negatives, options)
        rows[name] = measure(trained, options.data, held_out, people)
    differences = rows["with"]["peaks"] - rows["without"]["peaks"]
    report = {
        "command": f"python benchmarks/hard_negatives.py DATA START --steps {options.steps}",
        "machine": machine(),
        "false_boxes": {
            "detector": "rtmdet-nano",
            "min_score": MIN_SCORE,
            "train": len(false_boxes) - len(held_out),
            "held_out": len(held_out),
            "held_out_images": len({p.image_id for p in held_out}),
        },
        "batch": BATCH,
        "share": SHARE,
        "steps": options.steps,
        "rows": {
            name: {k: v for k, v in row.items() if k != "peaks"} for name, row in rows.items()
        },
        "with_minus_without_on_false_boxes": interval(differences, held_out),
    }
    print(json.dumps(report, indent=2))
    write_json(options.output, report)


def boxes_of_nobody(annotations: Path, images: Path, detections: Path) -> list[Person]:
    """Find RTMDet-nano's boxes that touch nobody; all its boxes are written to ``detections``."""
    detector = Detector("rtmdet-nano")
    detections.write_text(json.dumps(detect(detector, annotations, images, min_score=MIN_SCORE)))
    return read_hard_negatives(annotations, images, detections=detections, min_score=MIN_SCORE)


def train(
    best: Path,
    data: Path,
    folder: Path,
    detections: Path,
    negatives: bool,
    options: argparse.Namespace,
) -> Path:
    """Fine-tune the decoders for some steps; return the path of the last averaged weights."""
    content = load_checkpoint(best)
    sets = [DataSet(*COCO, fold="train")]
    if negatives:
        sets.append(
            DataSet(
                *COCO,
                format="hard_negatives",
                detections=str(detections),
                min_score=MIN_SCORE,
                share=SHARE,
                fold="train",
            )
        )
    stage = Stage(tuple(content["size"]), 1, rate=5e-4, encoder_rate=0.0, warmup_steps=10)
    recipe = Recipe(
        name=folder.name,
        network=content["recipe"]["network"],
        data=tuple(sets),
        stage=(stage,),
        validation=Validation(*COCO, fold="dev", every=10**9),
        input=Input(**content["recipe"]["input"]),
        optimizer=Optimizer(batch=BATCH, ema=0.98, clip=1.0),
        start=str(best.resolve()),
        seed=1,
    )
    # Epochs differ in length, since negatives take places: the number of steps is the same.
    people = sum(
        len(people_from(s, data, "refuse")) for s in sources_of(recipe, stage) if not s.share
    )
    per_epoch = people // (BATCH - round(SHARE * BATCH) * negatives)
    epochs = options.steps / per_epoch
    recipe = dataclasses.replace(recipe, stage=(dataclasses.replace(stage, epochs=epochs),))
    trainer = Trainer(recipe, data, folder)
    assert sum(trainer.lengths()) == options.steps
    trainer.run(
        lambda done, total, loss: (
            print(f"{folder.name} {done}/{total} {loss:.2e}", flush=True)
            if done % 20 == 0
            else None
        )
    )
    return folder / "best.pt"


def measure(
    best: Path, data: Path, false_boxes: list[Person], people: list[Person]
) -> dict[str, Any]:
    """Measure scores in false and true boxes, and AP, of a checkpoint on the held-out images."""
    network, spec = network_and_spec(best)
    estimator = PoseEstimator(
        TorchEngine(network, spec), detector=None, score_threshold=0, nms=None
    )
    peaks = highest_scores(estimator, false_boxes)
    true_peaks = highest_scores(estimator, people)
    ids = [i["id"] for i in load_annotations(data / COCO[0])["images"] if i["id"] % 5 == 0]
    ap = evaluate(estimator, data / COCO[0], data / COCO[1], image_ids=ids)[0].ap
    return {
        "peaks": peaks,
        "false_boxes_mean_peak": round(float(peaks.mean()), 4),
        "false_boxes_median_peak": round(float(np.median(peaks)), 4),
        "false_boxes_above_0.5": round(float((peaks > 0.5).mean()), 4),
        "true_boxes_mean_peak": round(float(true_peaks.mean()), 4),
        "true_above_false": round(float(np.mean(true_peaks[:, None] > peaks)), 4),
        "ap": round(ap, 4),
    }


def highest_scores(estimator: PoseEstimator, boxes: list[Person]) -> np.ndarray:
    """Give (N,) the highest of the 17 keypoint scores in each box."""
    return np.array(
        [
            estimator(read_image(b.image), boxes=b.box[None]).keypoint_scores.max(initial=0)
            for b in boxes
        ]
    )


def interval(differences: np.ndarray, boxes: list[Person]) -> dict[str, float]:
    """Give the mean difference and the middle 95 % of 2,000 bootstrap rounds that draw images."""
    by_image: dict[Any, list[float]] = {}
    for box, difference in zip(boxes, differences, strict=True):
        by_image.setdefault(box.image_id, []).append(float(difference))
    groups = [np.array(g) for g in by_image.values()]
    rng = np.random.default_rng(0)
    means = [
        np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]).mean()
        for _ in range(2000)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "mean": round(float(differences.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


if __name__ == "__main__":
    main()
