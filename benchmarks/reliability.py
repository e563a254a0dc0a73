"""How often scores are right: reliability of keypoints and people, raw and calibrated.

python benchmarks/reliability.py ANNOTATIONS IMAGES [--output results/reliability.json]
    [--diagram docs/images/reliability.png]     (the diagram needs matplotlib)

Each model runs once on each image with all boxes from 0.3 on and nobody dropped by score. Images
that say boxes_complete: false are left out. Also tells how well a keypoint's score separates seen
from occluded ones, which COCO labels 2 and 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from numpy.typing import NDArray

from pcr_rt import PoseEstimator
from pcr_rt.coco.annotations import is_labelled, load_annotations, select_images, select_people
from pcr_rt.coco.calibrate import (
    RIGHT,
    Judged,
    brier_score,
    calibration_error,
    joined,
    judge,
    reliability,
)
from pcr_rt.coco.record_images import read_record_image
from pcr_rt.poses import Poses
from pcr_rt.skeleton import keypoint_similarity

MODELS = ("pcr-tiny", "pcr-lite", "pcr-nano")
VISIBLE, OCCLUDED = 2, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--diagram", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    asked = parser.parse_args()
    tables: dict[str, Any] = {}
    for name in asked.models:
        for flip_test in (False, True):
            label = f"{name}, flip test" if flip_test else name
            tables[label] = measure(name, asked.annotations, asked.images, flip_test)
            print(label, tables[label]["summary"], flush=True)
    write_json(asked.output, {"machine": machine(), "models": tables})
    if asked.diagram is not None:
        draw(tables[asked.models[0]], asked.diagram)


def measure(name: str, annotations: Path, images: Path, flip_test: bool) -> dict[str, Any]:
    data = load_annotations(annotations)
    records = select_images(data)
    people: dict[Any, list[dict[str, Any]]] = {key: [] for key in records}
    for person in select_people(data, records):
        people[person["image_id"]].append(person)
    raw, calibrated, shades = [], [], []
    with PoseEstimator(
        name, device="cpu", score_threshold=0.0, flip_test=flip_test, calibrated=False
    ) as estimator:
        calibration = estimator.spec.calibration
        assert calibration is not None
        for key, record in records.items():
            if record.get("boxes_complete", True):
                poses = estimator(read_record_image(images, record))
                probable = poses.replace(
                    scores=calibration.of_people(poses.scores),
                    keypoint_scores=calibration.of_keypoints(poses.keypoint_scores),
                )
                raw.append(judge(poses, people[key]))
                calibrated.append(judge(probable, people[key]))
                shades += [seen(probable, people[key], v) for v in (VISIBLE, OCCLUDED)]
    table: dict[str, Any] = {"summary": {}}
    for kind, parts in (("raw", raw), ("calibrated", calibrated)):
        judged = Judged(*(joined(of_image) for of_image in zip(*parts, strict=True)))
        for what in ("keypoints", "people"):
            outcomes = getattr(judged, what)
            scores = outcomes.scores.clip(0, 1)
            table["summary"][f"{what} {kind}"] = {
                "count": len(scores),
                "right": round(float(outcomes.right.mean()), 4),
                "calibration_error": round(calibration_error(scores, outcomes.right), 4),
                "brier_score": round(brier_score(scores, outcomes.right), 4),
            }
            table[f"{what} {kind}"] = [
                [round(p, 4), round(share, 4), count]
                for p, share, count in reliability(scores, outcomes.right)
            ]
    visible, occluded = (np.concatenate(shades[start::2]) for start in (0, 1))
    table["summary"]["seen against occluded"] = separation(visible, occluded)
    return table


def seen(poses: Poses, people: list[dict[str, Any]], visibility: int) -> NDArray[np.float64]:
    """Scores of right people's keypoints whose label has that visibility."""
    labels = [person for person in people if is_labelled(person)]
    found = [np.zeros(0)]
    for keypoints, scores in zip(poses.keypoints, poses.keypoint_scores, strict=True):
        best, least = None, RIGHT
        for label in labels:
            points = np.array(label["keypoints"], dtype=float).reshape(-1, 3)
            terms = keypoint_similarity(keypoints, points[:, :2], label["area"])
            oks = terms[points[:, 2] > 0].mean()
            if oks >= least:
                best, least = points[:, 2], oks
        if best is not None:
            found.append(scores[best == visibility])
    return np.concatenate(found)


def separation(visible: NDArray[np.float64], occluded: NDArray[np.float64]) -> dict[str, float]:
    """ROC AUC, and the score below which a keypoint is best taken for occluded."""
    order = np.sort(occluded)
    below = np.searchsorted(order, visible, "left") + np.searchsorted(order, visible, "right")
    steps = np.linspace(0, 1, 101)
    balanced = [((visible >= t).mean() + (occluded < t).mean()) / 2 for t in steps]
    return {
        "seen": len(visible),
        "occluded": len(occluded),
        "auc": round(float(below.mean() / 2 / len(occluded)), 4),
        "threshold": round(float(steps[int(np.argmax(balanced))]), 2),
        "balanced_accuracy": round(float(max(balanced)), 4),
    }


def draw(table: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, what in zip(axes, ("keypoints", "people"), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for kind, colour in (("raw", "#E69F00"), ("calibrated", "#0072B2")):
            p, share, count = np.transpose(table[f"{what} {kind}"])
            axis.plot(p, share, color=colour, linewidth=1, label=kind)
            axis.scatter(p, share, s=4 + 160 * count / count.sum(), color=colour)
        axis.set(title=what, xlabel="score", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes[0].set_ylabel("share that is right")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main()
