"""Where a pose model is right and wrong: AP, people by size, joints by visibility, false boxes.

    python benchmarks/accuracy.py ANNOTATIONS IMAGES [--models pcr-tiny pcr-nano]
        [--peer FILE] [--sheets FOLDER] [--output JSON]

With labelled boxes, without flip test. For each model

- AP under each rule of the person score and, with a peer, the difference to it under the same rule
  with a 95 % interval (paired bootstrap over the images);
- people by the height of their box and by how many of their joints are visible: how many, their
  mean OKS, the part with an OKS of at least 0.5 and 0.75;
- joints by name and by visibility (seen or hidden): how many, their mean similarity (the term of
  one joint in OKS) and mean score;
- the highest keypoint score in a detector's boxes that touch nobody, and in labelled boxes.

--sheets: contact sheets of the 16 best, middle and worst people by OKS of each model, with the
labelled joints as white dots. They show the images that were given: mind their licence.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import machine, write_json
from hard_negatives import boxes_of_nobody, highest_scores

from pcr_rt.coco.annotations import is_labelled, load_annotations, select_images, select_people
from pcr_rt.coco.evaluation import bootstrap_difference, evaluate, keypoint_ap
from pcr_rt.coco.record_images import image_path
from pcr_rt.drawing import contact_sheet
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.inference.selection import person_scores
from pcr_rt.media import read_image
from pcr_rt.poses import Poses
from pcr_rt.skeleton import KEYPOINTS, keypoint_similarity

RULES = ("rms", "mean>0.2")
HEIGHTS = {
    "below 64": (0, 64),
    "64 to 128": (64, 128),
    "128 to 256": (128, 256),
    "256 and more": (256, np.inf),
}
VISIBLE = {"0 to 5": (0, 6), "6 to 10": (6, 11), "11 to 17": (11, 18)}
SHEET, CELL = 16, (240, 240)


@dataclass
class Judged:
    """One labelled person and the result of a model in the labelled box."""

    label: dict[str, Any]
    result: dict[str, Any]

    def __post_init__(self) -> None:
        assert self.label["image_id"] == self.result["image_id"]
        truth = np.reshape(self.label["keypoints"], (-1, 3))
        found = np.reshape(self.result["keypoints"], (-1, 3))
        self.places, self.visibility = truth[:, :2], truth[:, 2]
        self.keypoints, self.scores = found[:, :2], found[:, 2]
        terms = keypoint_similarity(self.keypoints, self.places, self.label["area"])
        self.similarity = np.where(self.visibility > 0, terms, np.nan)

    @property
    def oks(self) -> float:
        return float(np.nanmean(self.similarity))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--models", nargs="+", default=["pcr-tiny", "pcr-nano"])
    parser.add_argument("--peer", help="an ONNX file to compare with")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    annotations = load_annotations(options.annotations)
    labels = labelled_people(annotations)
    with tempfile.TemporaryDirectory() as folder:
        detections = Path(folder) / "detections.json"
        false_boxes = boxes_of_nobody(options.annotations, options.images, detections)
    models = [*options.models, *([options.peer] if options.peer else [])]
    judged, rows = {}, {}
    for model in models:
        # Raw scores: the rules, and the peer, know no others.
        with PoseEstimator(
            model, detector=None, device="cpu", score_threshold=0, nms=None, calibrated=False
        ) as estimator:
            _, results = evaluate(estimator, options.annotations, options.images)
            found = judged[model] = [Judged(*pair) for pair in zip(labels, results, strict=True)]
            row = rows[model] = report(found, annotations)
            row["false_boxes"] = summary_of_peaks(highest_scores(estimator, false_boxes))
            row["labelled_boxes"] = summary_of_peaks(np.array([p.scores.max() for p in found]))
        print(f"{model}: AP {row['rms']['ap']:.3f}", flush=True)
        if options.sheets:
            draw_sheets(found, annotations, options.images, options.sheets / Path(model).stem)
    for model in options.models if options.peer else []:
        for rule in RULES:
            pair = (rescored(judged[m], rule) for m in (model, options.peer))
            difference = bootstrap_difference(annotations, *pair)
            rows[model][rule]["minus_peer"] = [round(value, 4) for value in difference]
    command = f"python benchmarks/accuracy.py {options.annotations.name} {options.images.name}"
    command += f" --models {' '.join(options.models)}"
    if options.peer:
        command += f" --peer {Path(options.peer).name}"
    whole = {
        "command": command,
        "machine": machine(),
        "models": {Path(model).name: row for model, row in rows.items()},
    }
    write_json(options.output, whole)
    if options.output is None:
        print(json.dumps(whole, indent=2))


def labelled_people(annotations: dict[str, Any]) -> list[dict[str, Any]]:
    """List the people in the order in which `evaluate` looks at them: image by image."""
    images = select_images(annotations)
    order = {image_id: i for i, image_id in enumerate(images)}
    people = filter(is_labelled, select_people(annotations, images))
    return sorted(people, key=lambda person: order[person["image_id"]])


def rescored(judged: Sequence[Judged], rule: Any) -> list[dict[str, Any]]:
    """Score COCO results anew by the person scores of a rule."""
    scores = person_scores(np.stack([person.scores for person in judged]), rule)
    return [{**p.result, "score": float(s)} for p, s in zip(judged, scores, strict=True)]


def report(judged: list[Judged], annotations: dict[str, Any]) -> dict[str, Any]:
    """Report AP by rule, people by height and by visible joints, joints by name and visibility."""
    oks = np.array([person.oks for person in judged])
    heights = np.array([person.label["bbox"][3] for person in judged])
    visibility = np.stack([person.visibility for person in judged])
    terms = np.stack([person.similarity for person in judged])
    scores = np.stack([person.scores for person in judged])
    row: dict[str, Any] = {}
    for rule in RULES:
        found = keypoint_ap(annotations, rescored(judged, rule))
        values = {"ap": found.ap, "ap50": found.ap50, "ap75": found.ap75, "ar": found.ar}
        values |= {"ap_medium": found.ap_medium, "ap_large": found.ap_large}
        row[rule] = {name: round(value, 4) for name, value in values.items()}
    row["by_height"] = binned(heights, HEIGHTS, oks)
    row["by_visible_joints"] = binned((visibility == 2).sum(1), VISIBLE, oks)
    row["by_joint"] = {
        name: joints(terms[:, i], scores[:, i], visibility[:, i] > 0)
        for i, name in enumerate(KEYPOINTS)
    }
    row["by_visibility"] = {
        name: joints(terms, scores, visibility == value)
        for name, value in (("seen", 2), ("hidden", 1))
    }
    return row


def binned(
    values: np.ndarray, bins: dict[str, tuple[float, float]], oks: np.ndarray
) -> dict[str, Any]:
    """Give count, mean OKS and parts above 0.5 and 0.75 of the people in each bin [low, high)."""
    rows = {}
    for name, (low, high) in bins.items():
        inside = oks[(values >= low) & (values < high)]
        if len(inside):
            rows[name] = {
                "people": len(inside),
                "oks": round(float(inside.mean()), 3),
                "above_0.5": round(float((inside >= 0.5).mean()), 3),
                "above_0.75": round(float((inside >= 0.75).mean()), 3),
            }
    return rows


def joints(terms: np.ndarray, scores: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    """Give count, mean similarity and mean score of the chosen joints."""
    return {
        "joints": int(chosen.sum()),
        "similarity": round(float(terms[chosen].mean()), 3),
        "score": round(float(scores[chosen].mean()), 3),
    }


def summary_of_peaks(highest: np.ndarray) -> dict[str, Any]:
    """Give the number of peaks, their mean, and the part above 0.5."""
    return {
        "boxes": len(highest),
        "mean_peak": round(float(highest.mean()), 3),
        "above_0.5": round(float((highest > 0.5).mean()), 3),
    }


def draw_sheets(
    judged: list[Judged], annotations: dict[str, Any], folder: Path, target: Path
) -> None:
    """Draw three contact sheets of a model: best, middle and worst people by OKS."""
    images = select_images(annotations)
    order = sorted(judged, key=lambda person: -person.oks)
    middle = max((len(order) - SHEET) // 2, 0)
    target.parent.mkdir(parents=True, exist_ok=True)
    for name, chosen in (
        ("best", order[:SHEET]),
        ("middle", order[middle : middle + SHEET]),
        ("worst", order[-SHEET:]),
    ):
        captions = [
            f"OKS {p.oks:.2f}  {(p.visibility > 0).sum()} joints  {p.label['bbox'][3]:.0f} px"
            for p in chosen
        ]
        paths = (image_path(folder, images[p.label["image_id"]]) for p in chosen)
        cells = [drawn(read_image(path), p) for path, p in zip(paths, chosen, strict=True)]
        path = target.with_name(f"{target.name}-{name}.jpg")
        sheet = contact_sheet(cells, 4, CELL, captions)
        cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])
        print(path, flush=True)


def drawn(image: np.ndarray, person: Judged) -> np.ndarray:
    """Draw a person's surroundings, enlarged, with keypoints of at least 0.2 and the labels."""
    box = np.array(person.label["bbox"])
    box[2:] += box[:2]
    margin = 0.15 * (box[2:] - box[:2]).max()
    left, top = np.maximum(box[:2] - margin, 0).astype(int)
    right, bottom = (box[2:] + margin).astype(int) + 1
    cut = image[top:bottom, left:right]
    factor = 2 * max(CELL) / max(cut.shape[:2])
    cut = cv2.resize(cut, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)

    def moved(points: np.ndarray) -> np.ndarray:
        return ((points - [left, top]) * factor).astype(np.float32)

    pose = Poses(
        keypoints=moved(person.keypoints)[None],
        keypoint_scores=person.scores[None].astype(np.float32),
        boxes=moved(box.reshape(2, 2)).reshape(1, 4),
        scores=np.ones(1, np.float32),
        image_size=(cut.shape[1], cut.shape[0]),
    )
    canvas = pose.draw(cut, colours="sides", keypoint_threshold=0.2)
    for place in np.rint(moved(person.places[person.visibility > 0])).astype(int).tolist():
        cv2.circle(canvas, place, 6, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(canvas, place, 4, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    return canvas


if __name__ == "__main__":
    main()
