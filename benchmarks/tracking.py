"""Measure tracking against true ids, beside other trackers on the same detector's boxes.

    python benchmarks/tracking.py [TRUTH.txt VIDEO ...] --output tracking.json \
        --sheets FOLDER --clips VIDEO

TRUTH.txt is a MOTChallenge file (frame, id, left, top, width, height). PCR-RT runs as a stream does
by default; BoT-SORT, ByteTrack and OC-SORT (PyPI ``trackers``), with their defaults, get the
detector's boxes of every frame. A result fits a true box if their IoU is at least 0.5. Scores are
those of ``motmetrics`` (PyPI), for each whole sequence and for its halves. Sheets show each id's
person over time and the frames with their skeletons, also of clips without truth. PCR-RT's tracker
also runs on drawn scenes, and is timed on ten drawn people.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from tracker_scenes import FIGURE, FPS, SCENES, join, one_person, our_tracker, run_scene
from tracking_sheets import Sheets

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.inference.detector import Detector
from pcr_rt.media import VideoReader
from pcr_rt.tracking.smoother import Smoother
from pcr_rt.tracking.tracker import Tracker

Boxes = dict[int, list[tuple[int, float, float, float, float]]]
"""Frame, from 1 -> (id, left, top, width, height) of each person."""
PEERS = ("BoTSORTTracker", "ByteTrackTracker", "OCSORTTracker")
BOX_THRESHOLD = 0.1  # the trackers have thresholds of their own


def true_boxes(path: Path) -> Boxes:
    boxes: Boxes = defaultdict(list)
    for line in path.read_text().splitlines():
        frame, person, *place = line.split(",")[:6]
        x, y, width, height = map(float, place)
        boxes[int(frame)].append((int(person), x, y, width, height))
    return boxes


def rows(xyxy: Any, ids: Iterable[int]) -> list[tuple[int, float, float, float, float]]:
    return [
        (int(i), x1, y1, x2 - x1, y2 - y1)
        for (x1, y1, x2, y2), i in zip(xyxy.tolist(), ids, strict=True)
    ]


def ours(video: Path, sheets: Path | None) -> Boxes:
    found, images = {}, Sheets()
    with PoseEstimator(device="cpu") as estimator:
        for number, (frame, poses) in enumerate(PoseStream(str(video), estimator), 1):
            found[number] = rows(poses.boxes, poses.ids)
            if sheets is not None:
                images.add(number, frame, poses)
    if sheets is not None:
        images.write(sheets, video.stem)
    return found


def peers(video: Path) -> dict[str, Boxes]:
    import supervision
    import trackers

    detector = Detector(device="cpu")
    with VideoReader(video) as reader:
        made = {name: getattr(trackers, name)(frame_rate=reader.fps) for name in PEERS}
        found: dict[str, Boxes] = {name: {} for name in PEERS}
        for number, (frame, _) in enumerate(reader, 1):
            [(boxes, scores)] = detector([frame], BOX_THRESHOLD)
            for name, tracker in made.items():
                detections = supervision.Detections(
                    xyxy=boxes.copy(), confidence=scores.copy(), class_id=np.zeros(len(boxes), int)
                )
                # BoT-SORT estimates the camera's motion from the frame.
                extra = {"frame": frame} if name == "BoTSORTTracker" else {}
                result = tracker.update(detections, **extra)
                known = result[result.tracker_id >= 0] if len(result) else result
                ids = known.tracker_id if len(known) else []
                found[name][number] = rows(known.xyxy, ids)
    return found


def scores(truth: Boxes, found: Boxes, frames: range) -> dict[str, float]:
    """IDF1, MOTA and more of some frames."""
    import motmetrics

    if not hasattr(np, "asfarray"):  # motmetrics still asks NumPy 2 for it
        np.asfarray = lambda values, dtype=float: np.asarray(values, dtype=dtype)  # noqa: NPY201

    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in frames:
        real, shown = truth.get(frame, []), found.get(frame, [])
        distance = motmetrics.distances.iou_matrix(
            [r[1:] for r in real], [s[1:] for s in shown], max_iou=0.5
        )
        accumulator.update([r[0] for r in real], [s[0] for s in shown], distance)
    names = ["idf1", "mota", "num_switches", "recall", "precision"]
    row = motmetrics.metrics.create().compute(accumulator, metrics=names).iloc[0]
    report = {name: round(float(row[name]), 3) for name in names}
    report["ids"] = len({person for frame in frames for person, *_ in found.get(frame, [])})
    return report


def speed(apart: int, people: int = 10, frames: int = 300) -> dict[str, float]:
    """Milliseconds a frame of regions, tracker and smoother, on 720p frames.

    apart: pixels from each of the people, whose boxes are 83 pixels wide, to the next.
    """
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    tracker, smoother, spent = Tracker("0.5s"), Smoother(), []
    for t in range(frames):
        places = [(100 + apart * k + 0.3 * t, 300 + 20 * (k % 3)) for k in range(people)]
        figures = [FIGURE * 200 + p + rng.normal(0, 2, (17, 2)) for p in places]
        poses = join([one_person(f, 0.6) for f in figures])
        start = time.perf_counter()
        detected = tracker.regions(image, t / FPS) is None
        looked = time.perf_counter()
        tracked = tracker.update(poses, timestamp=t / FPS, detected=detected, frame=image)
        middle = time.perf_counter()
        smoother(tracked, t / FPS)
        spent.append((looked - start, middle - looked, time.perf_counter() - middle))
    names = ("regions_ms", "track_ms", "smooth_ms")
    medians = np.median(spent, axis=0) * 1e3
    return {name: round(float(ms), 3) for name, ms in zip(names, medians, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", type=Path, help="TRUTH.txt VIDEO ...")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sheets", type=Path, help="folder of images to look at")
    parser.add_argument("--clips", nargs="*", type=Path, default=[], help="videos without truth")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "sequences": {}, "clips": {}}
    results["speed"] = {"nobody touches anybody": speed(110), "everybody touches": speed(50)}
    print(json.dumps({"speed": results["speed"]}, indent=1), flush=True)
    results["drawn scenes"] = {name: run_scene(name, our_tracker) for name in SCENES}
    for truth_file, video in zip(options.pairs[::2], options.pairs[1::2], strict=True):
        truth = true_boxes(truth_file)
        last, half = max(truth), max(truth) // 2
        parts = {"all": range(1, last + 1), "first half": range(1, half + 1)}
        parts["second half"] = range(half + 1, last + 1)
        table = {
            who: {part: scores(truth, found, frames) for part, frames in parts.items()}
            for who, found in {"PCR-RT": ours(video, options.sheets), **peers(video)}.items()
        }
        results["sequences"][truth_file.stem] = table
        print(json.dumps({truth_file.stem: table}, indent=1), flush=True)
    for video in options.clips:
        found = ours(video, options.sheets)
        people = Counter(person for boxes in found.values() for person, *_ in boxes)
        results["clips"][video.stem] = {"frames of each id": dict(people)}
        print(json.dumps({video.stem: results["clips"][video.stem]}), flush=True)
    write_json(options.output, results)


if __name__ == "__main__":
    main()
