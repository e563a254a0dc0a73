"""Where a pose model is right and wrong: AP, people by size, joints by visibility, false boxes.

    python benchmarks/accuracy.py ANNOTATIONS PICTURES [--models pcr-tiny pcr-lite] [--peer FILE]
        [--sheets FOLDER] [--output JSON]

With labelled boxes, without flip test. For each model

- AP under each rule of the person score and, with a peer, the difference to it under the same rule
  with a 95 % interval (paired bootstrap over the pictures);
- people by the height of their box and by how many of their joints are visible: how many, their
  mean OKS, the part with an OKS of at least 0.5 and 0.75;
- joints by name and by visibility (seen or hidden): how many, their mean similarity (the term of
  one joint in OKS) and mean score;
- the highest keypoint score in a detector's boxes that touch nobody, and in labelled boxes.

--sheets: contact sheets of the 16 best, middle and worst people by OKS of each model, with the
labelled joints as white dots. They show the pictures that were given: mind their licence.
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

from pcr_rt.annotations import (
    is_labelled,
    load_annotations,
    picture_path,
    select_images,
    select_people,
)
from pcr_rt.detectors import Detector
from pcr_rt.drawing import contact_sheet, draw_poses
from pcr_rt.estimator import PoseEstimator
from pcr_rt.evaluation import bootstrap_difference, keypoint_ap
from pcr_rt.media import read_image
from pcr_rt.poses import Poses
from pcr_rt.selection import person_scores
from pcr_rt.skeleton import KEYPOINTS, SIGMAS
from pcr_rt.training.data.hard_negatives import detect, read_hard_negatives

RULES = ("rms", "mean>0.2")
HEIGHTS = {
    "below 64": (0, 64),
    "64 to 128": (64, 128),
    "128 to 256": (128, 256),
    "256 and more": (256, np.inf),
}
VISIBLE = {"0 to 5": (0, 6), "6 to 10": (6, 11), "11 to 17": (11, 18)}
MIN_SCORE = 0.2
SHEET, CELL = 16, (240, 240)


@dataclass
class Judged:
    """One labelled person and what a model said of them."""

    picture: Path
    label: dict[str, Any]
    pose: Poses
    """One person."""
    similarity: np.ndarray
    """(17,) of each joint, NaN where it is not labelled."""

    @property
    def oks(self) -> float:
        return float(np.nanmean(self.similarity))

    @property
    def visibility(self) -> np.ndarray:
        """(17,) 0 not labelled, 1 hidden, 2 seen."""
        return np.array(self.label["keypoints"][2::3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--models", nargs="+", default=["pcr-tiny", "pcr-lite"])
    parser.add_argument("--peer", help="an ONNX file to compare with")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    annotations = load_annotations(options.annotations)
    images = select_images(annotations, None)
    people = [p for p in select_people(annotations, images) if is_labelled(p)]
    false_boxes = boxes_of_nobody(options.annotations, options.pictures)
    models = [*options.models, *([options.peer] if options.peer else [])]
    judged, rows = {}, {}
    for model in models:
        with PoseEstimator(
            model, detector=None, device="cpu", score_threshold=0, nms=None
        ) as estimator:
            found = judge(estimator, images, people, options.pictures)
            judged[model] = found
            row = rows[model] = report(found, annotations)
            row["false_boxes"] = peaks(estimator, false_boxes)
            row["labelled_boxes"] = summary_of_peaks([p.pose.keypoint_scores.max() for p in found])
        print(f"{model}: AP {row['rms']['ap']:.3f}", flush=True)
        if options.sheets:
            draw_sheets(found, options.sheets, Path(model).stem)
    for model in options.models if options.peer else []:
        for rule in RULES:
            pair = (results(judged[m], rule) for m in (model, options.peer))
            difference = bootstrap_difference(annotations, *pair)
            rows[model][rule]["minus_peer"] = [round(value, 4) for value in difference]
    command = f"python benchmarks/accuracy.py {options.annotations.name} {options.pictures.name}"
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


def judge(
    estimator: PoseEstimator, images: dict[Any, Any], people: list[dict[str, Any]], folder: Path
) -> list[Judged]:
    """Every labelled person with the model's keypoints in the labelled box."""
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for person in people:
        by_image.setdefault(person["image_id"], []).append(person)
    judged = []
    for image_id, labels in by_image.items():
        path = picture_path(folder, images[image_id])
        boxes = np.array([label["bbox"] for label in labels], float)
        boxes[:, 2:] += boxes[:, :2]
        poses = estimator(read_image(path), boxes)
        assert len(poses) == len(labels)
        judged += [
            Judged(path, label, poses[i : i + 1], similarity(poses.keypoints[i], label))
            for i, label in enumerate(labels)
        ]
    return judged


def similarity(keypoints: np.ndarray, label: dict[str, Any]) -> np.ndarray:
    """The terms (17,) of OKS, NaN for joints without a label (COCO's protocol)."""
    truth = np.array(label["keypoints"], float).reshape(-1, 3)
    squared = np.square(keypoints - truth[:, :2]).sum(1)
    terms = np.exp(-squared / (2 * (2 * SIGMAS) ** 2) / (label["area"] + np.spacing(1)))
    return np.where(truth[:, 2] > 0, terms, np.nan)


def results(judged: Sequence[Judged], rule: Any) -> list[dict[str, Any]]:
    """COCO results with the person scores of a rule."""
    found = []
    for person in judged:
        (result,) = person.pose.to_coco(person.label["image_id"])
        result["score"] = float(person_scores(person.pose.keypoint_scores, rule)[0])
        found.append(result)
    return found


def report(judged: list[Judged], annotations: dict[str, Any]) -> dict[str, Any]:
    """AP by rule, people by height and by visible joints, joints by name and by visibility."""
    oks = np.array([person.oks for person in judged])
    heights = np.array([person.label["bbox"][3] for person in judged])
    visibility = np.stack([person.visibility for person in judged])
    terms = np.stack([person.similarity for person in judged])
    scores = np.concatenate([person.pose.keypoint_scores for person in judged])
    row: dict[str, Any] = {}
    for rule in RULES:
        found = keypoint_ap(annotations, results(judged, rule))
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
    """Count, mean OKS and parts above 0.5 and 0.75 of the people in each bin [low, high)."""
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
    """Count, mean similarity and mean score of the chosen joints."""
    return {
        "joints": int(chosen.sum()),
        "similarity": round(float(terms[chosen].mean()), 3),
        "score": round(float(scores[chosen].mean()), 3),
    }


def boxes_of_nobody(annotations: Path, pictures: Path) -> list[Any]:
    """RTMDet-nano's boxes that have no pixel in common with anybody's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.json"
        detector = Detector("rtmdet-nano", device="cpu")
        path.write_text(json.dumps(detect(detector, annotations, pictures, min_score=MIN_SCORE)))
        return read_hard_negatives(annotations, pictures, detections=path, min_score=MIN_SCORE)


def peaks(estimator: PoseEstimator, boxes: list[Any]) -> dict[str, Any]:
    """The highest of the 17 scores in each box."""
    highest = []
    for box in boxes:
        poses = estimator(read_image(box.image), box.box[None])
        highest.append(float(poses.keypoint_scores.max(initial=0)))
    return summary_of_peaks(highest)


def summary_of_peaks(highest: Sequence[float]) -> dict[str, Any]:
    """How many, their mean, and the part above 0.5."""
    values = np.asarray(highest)
    return {
        "boxes": len(values),
        "mean_peak": round(float(values.mean()), 3),
        "above_0.5": round(float((values > 0.5).mean()), 3),
    }


def draw_sheets(judged: list[Judged], folder: Path, model: str) -> None:
    """Three contact sheets of a model: best, middle and worst people by OKS."""
    order = sorted(judged, key=lambda person: -person.oks)
    middle = max((len(order) - SHEET) // 2, 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, chosen in (
        ("best", order[:SHEET]),
        ("middle", order[middle : middle + SHEET]),
        ("worst", order[-SHEET:]),
    ):
        captions = [
            f"OKS {p.oks:.2f}  {(p.visibility > 0).sum()} joints  {p.label['bbox'][3]:.0f} px"
            for p in chosen
        ]
        sheet = contact_sheet([drawn(person) for person in chosen], 4, CELL, captions)
        path = folder / f"{model}-{name}.jpg"
        cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])
        print(path, flush=True)


def drawn(person: Judged) -> np.ndarray:
    """The person's surroundings, enlarged, with keypoints of at least 0.2 and the labels."""
    picture = read_image(person.picture)
    x, y, width, height = person.label["bbox"]
    margin = 0.15 * max(width, height)
    left, top = max(int(x - margin), 0), max(int(y - margin), 0)
    right, bottom = int(x + width + margin) + 1, int(y + height + margin) + 1
    cut = picture[top:bottom, left:right]
    factor = 2 * max(CELL) / max(cut.shape[:2])
    cut = cv2.resize(cut, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    offset = np.array([left, top])
    pose = Poses(
        keypoints=((person.pose.keypoints - offset) * factor).astype(np.float32),
        keypoint_scores=person.pose.keypoint_scores,
        boxes=((person.pose.boxes - np.tile(offset, 2)) * factor).astype(np.float32),
        scores=person.pose.scores,
        image_size=(cut.shape[1], cut.shape[0]),
    )
    canvas = draw_poses(cut, pose, keypoint_threshold=0.2, labels=False)
    for (px, py), seen in zip(
        np.reshape(person.label["keypoints"], (-1, 3))[:, :2], person.visibility, strict=True
    ):
        if seen:
            place = np.rint((np.array([px, py]) - offset) * factor).astype(int).tolist()
            cv2.circle(canvas, place, 6, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
            cv2.circle(canvas, place, 4, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    return canvas


if __name__ == "__main__":
    main()
