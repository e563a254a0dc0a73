"""Detector and pose together: AP and time by detector size and threshold, and what boxes cost.

    python benchmarks/end_to_end.py annotations.json images --output end_to_end.json

Sizes and thresholds: keypoint AP with the detector's boxes, boxes per image that the pose network
looks at, and milliseconds per image if size or threshold is the default, in turns on each
image. A person below the threshold is no result, a box below it is not looked at. Steps from
ground-truth boxes to the detector's at its own size, each with its AP:

- labelled: the boxes of the annotations;
- placed: the detector's box for each person that it found (IoU of at least 0.5), else the labelled;
- found: the same without the people that it missed;
- ranked: the same with the detector's scores;
- all: every box of the detector.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json

from pcr_rt.coco.annotations import is_labelled, load_annotations
from pcr_rt.coco.evaluation import MAX_RESULTS, evaluate, keypoint_ap
from pcr_rt.coco.record_images import image_path
from pcr_rt.geometry import box_iou
from pcr_rt.inference.detector import Detector
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.inference.loading import make_engine
from pcr_rt.media import read_image

SIZES = (256, 320, 416, 512, 640)
THRESHOLDS = (0.02, 0.1, 0.2, 0.3)
DEFAULT_SIZE, DEFAULT_THRESHOLD = 416, 0.2
FOUND_IOU = 0.5
LEAST_SCORE = 0.02


def protocol(box_threshold: float) -> dict[str, Any]:
    """Give COCO's protocol as options: raw scores of everybody from a box score on, OKS-NMS 0.9."""
    return {
        "box_threshold": box_threshold,
        "score_threshold": 0.0,
        "oks_threshold": 0.9,
        "calibrated": False,
    }


def detector_of(size: int) -> Detector:
    """Load the shipped detector at a square input of ``size`` pixels."""
    detector = Detector("rtmdet-nano", device="cpu")
    spec = dataclasses.replace(detector.spec, input_size=(size, size))
    return Detector("rtmdet-nano", spec=spec, device="cpu")


def grid(annotations: dict[str, Any], folder: Path, model: str) -> list[dict[str, Any]]:
    """Measure each size and threshold; milliseconds are medians over the images."""
    detectors = {size: detector_of(size) for size in SIZES}
    rows = []
    results: dict[int, list[Any]] = defaultdict(list)
    scores: dict[int, list[float]] = defaultdict(list)
    times: dict[tuple[int, float], list[float]] = defaultdict(list)
    engine = make_engine(model, device="cpu")  # one for all: each keeps memory for its crops
    everything = {
        size: PoseEstimator(engine, detector=found, **protocol(LEAST_SCORE))
        for size, found in detectors.items()
    }
    timed = {(size, DEFAULT_THRESHOLD) for size in SIZES} | {(DEFAULT_SIZE, t) for t in THRESHOLDS}
    estimators = {
        (size, threshold): PoseEstimator(engine, detector=detectors[size], **protocol(threshold))
        for size, threshold in timed
    }
    for image in annotations["images"]:
        frame = read_image(image_path(folder, image))
        for size, estimator in everything.items():
            scores[size] += detectors[size]([frame], LEAST_SCORE)[0][1].tolist()
            results[size] += estimator(frame).to_coco(image["id"])
        for key, estimator in estimators.items():
            start = time.perf_counter()
            estimator(frame)
            times[key].append((time.perf_counter() - start) * 1e3)
    for size in SIZES:
        for threshold in THRESHOLDS:
            # Suppression goes from the best down, so leaving out the last changes no other.
            kept = best_of_each([r for r in results[size] if r["score"] >= threshold])
            row = {
                "size": size,
                "threshold": threshold,
                "ap": round(keypoint_ap(annotations, kept).ap, 4),
                "crops_per_image": round(
                    sum(s >= threshold for s in scores[size]) / len(annotations["images"]), 2
                ),
            }
            if (size, threshold) in times:
                row["ms"] = round(float(np.median(times[size, threshold])), 1)
            rows.append(row)
    return rows


def best_of_each(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the results that COCO counts: the best of each image."""
    count: dict[Any, int] = defaultdict(int)
    kept = []
    for result in sorted(results, key=lambda r: -r["score"]):
        count[result["image_id"]] += 1
        if count[result["image_id"]] <= MAX_RESULTS:
            kept.append(result)
    return kept


def steps(annotations_path: Path, folder: Path, model: str) -> dict[str, Any]:
    """Measure the AP of each step from labelled boxes to the detector's, and who is found."""
    annotations = load_annotations(annotations_path)
    detector = Detector("rtmdet-nano", device="cpu")
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("labelled", "placed", "found", "ranked", "all")
    }
    people = defaultdict(list)
    for person in filter(is_labelled, annotations["annotations"]):
        x, y, width, height = person["bbox"]
        people[person["image_id"]].append([x, y, x + width, y + height])
    missed = 0
    for image in annotations["images"]:
        frame = read_image(image_path(folder, image))
        boxes, scores = detector([frame], LEAST_SCORE)[0]
        labelled = np.array(people[image["id"]], float).reshape(-1, 4)
        partner = pairs(labelled, boxes)

        def add(name: str, box: Any, score: float, image_id: Any = image["id"]) -> None:
            x1, y1, x2, y2 = map(float, box)
            row = {"image_id": image_id, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            rows[name].append({**row, "score": float(score)})

        for i, box in enumerate(labelled):
            match = partner.get(i)
            missed += match is None
            add("labelled", box, 1)
            add("placed", box if match is None else boxes[match], 1)
            if match is not None:
                add("found", boxes[match], 1)
                add("ranked", boxes[match], scores[match])
        for box, score in zip(boxes, scores, strict=True):
            add("all", box, score)
    found: dict[str, Any] = {"people": sum(map(len, people.values())), "missed": missed}
    with tempfile.TemporaryDirectory() as scratch:
        for name, detections in rows.items():
            path = Path(scratch) / f"{name}.json"
            path.write_text(json.dumps(detections))
            given = name in ("labelled", "placed", "found")
            estimator = PoseEstimator(
                model,
                device="cpu",
                detector=None,
                score_threshold=0,
                nms=None if given else "hard",
                oks_threshold=0.9,
            )
            ap, _ = evaluate(estimator, annotations_path, folder, boxes=path)
            found[name] = {"ap": round(ap.ap, 4), "results": ap.results}
    return found


def pairs(labelled: np.ndarray, boxes: np.ndarray) -> dict[int, int]:
    """Pair boxes with people, the best overlap first, each box and person once."""
    if not len(labelled) or not len(boxes):
        return {}
    overlap = box_iou(labelled, boxes)
    found: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        person, box = map(int, np.unravel_index(flat, overlap.shape))
        if overlap[person, box] < FOUND_IOU:
            break
        if person not in found and box not in found.values():
            found[person] = box
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="pcr-tiny")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "model": given.model}
    report["steps"] = steps(given.annotations, given.images, given.model)
    print(json.dumps(report["steps"]), flush=True)
    report["grid"] = grid(load_annotations(given.annotations), given.images, given.model)
    for row in report["grid"]:
        print(json.dumps(row))
    write_json(given.output, report)


if __name__ == "__main__":
    main()
