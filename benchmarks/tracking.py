"""Trackers side by side, the detector on every n-th frame, and smoothing.

    python benchmarks/tracking.py [--clips FOLDER] [--frames 200]

Compares PCR-RT's tracker with an IoU tracker and, where they are installed, with ByteTrack and
OC-SORT (PyPI ``trackers``) and norfair's keypoint distance. Writes
benchmarks/results/tracking.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import machine, write_json

from pcr_rt.geometry import box_iou
from pcr_rt.poses import Poses
from pcr_rt.skeleton import SIGMAS
from pcr_rt.streaming.association import assign
from pcr_rt.streaming.smoothing import Smoother
from pcr_rt.streaming.tracking import Tracker

HALF = [(0.03, -0.44), (0.06, -0.43), (0.11, -0.32), (0.14, -0.16), (0.15, 0.0), (0.08, 0.04)]
HALF += [(0.08, 0.25), (0.08, 0.46)]
FIGURE = np.array([(0, -0.42)] + [(s * x, y) for x, y in HALF for s in (1, -1)])
FPS = 30
Ids = Callable[[Poses, float], list[tuple[int, int]]]  # -> (row, id)


# --- trackers: each makes a function (poses, time) -> [(row, id)] ---


def make_ours(fps: float) -> Ids:
    tracker = Tracker()

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        result = tracker.update(poses, timestamp=now, detected=True)
        rows = [int(np.flatnonzero((poses.boxes == b).all(1))[0]) for b in result.boxes]
        return list(zip(rows, result.ids.tolist(), strict=True))

    return step


def make_iou(fps: float) -> Ids:
    tracks: dict[int, tuple[np.ndarray, float]] = {}
    counter = [0]

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        for key in [k for k, (_, seen) in tracks.items() if now - seen > 2]:
            del tracks[key]
        keys, pairs = list(tracks), {}
        if keys and len(poses):
            iou = box_iou(np.stack([tracks[k][0] for k in keys]), poses.boxes)
            pairs = {column: keys[row] for row, column in assign(iou, 0.3)}
        for row in range(len(poses)):
            if row not in pairs:
                counter[0] += 1
                pairs[row] = counter[0]
            tracks[pairs[row]] = (poses.boxes[row], now)
        return sorted(pairs.items())

    return step


def make_library(name: str, fps: float) -> Ids:
    import supervision
    import trackers

    # Their thresholds are for detector scores of 0.6 and more; ours are 0.2 to 0.7.
    options = {"lost_track_buffer": 60, "frame_rate": fps, "high_conf_det_threshold": 0.35}
    if name == "ByteTrackTracker":
        options["track_activation_threshold"] = 0.35
    tracker = getattr(trackers, name)(**options)

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        found = supervision.Detections(
            xyxy=poses.boxes.reshape(-1, 4).copy(),
            confidence=poses.scores.copy(),
            class_id=np.zeros(len(poses), int),
            data={"row": np.arange(len(poses))},
        )
        result = tracker.update(found)
        if not len(result):
            return []
        pairs = zip(result.data["row"].tolist(), result.tracker_id.tolist(), strict=True)
        return [(row, int(i)) for row, i in pairs if i is not None and i >= 0]

    return step


def make_norfair(fps: float) -> Ids:
    import norfair

    logging.getLogger().setLevel(logging.ERROR)  # it warns of scalar distances every time

    def distance(found, track) -> float:
        size = np.ptp(found.points, axis=0).max()
        return float(np.linalg.norm(found.points - track.estimate, axis=1).mean() / size)

    tracker = norfair.Tracker(
        distance, 0.3, hit_counter_max=round(2 * fps), initialization_delay=1, detection_threshold=0
    )

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        found = [
            norfair.Detection(points=k.astype(float), data=row)
            for row, k in enumerate(poses.keypoints)
        ]
        result = tracker.update(found)
        live = {id(d) for d in found}
        return [
            (o.last_detection.data, o.id)
            for o in result
            if o.id is not None and id(o.last_detection) in live
        ]

    return step


def candidates() -> dict[str, Callable[[float], Ids]]:
    makers: dict[str, Callable[[float], Ids]] = {"ours": make_ours, "iou": make_iou}
    try:
        name = "trackers " + version("trackers")
        makers[f"ByteTrack ({name})"] = lambda fps: make_library("ByteTrackTracker", fps)
        makers[f"OC-SORT ({name})"] = lambda fps: make_library("OCSORTTracker", fps)
        makers["norfair " + version("norfair")] = make_norfair
    except ModuleNotFoundError:
        print("The packages trackers and norfair are not installed: left out.")
    return makers


# --- drawn scenes ---


def scene(name: str, seed: int) -> list[list[tuple[int, Poses]]]:
    """Frames of a scene: (true person or -1) of each row, with its Poses of one person."""
    rng = np.random.default_rng(seed)
    hidden = range(45, 57)
    frames = []
    for t in range(120):
        people: dict[int, tuple[float, float, float]] = {}  # x, y, height
        speed = rng.uniform(0.98, 1.02) * 5
        if name in ("crossing", "misses and false boxes", "jitter"):
            people = {k: (60 + speed * t, 220 + 5 * k, 200) for k in (0,)}
            people[1] = (620 - speed * t, 232, 210)
            people[2] = (330, 250, 190)
        elif name == "occlusion":
            people = {0: (60 + speed * t, 230, 200)}
            if t not in hidden:
                people[1] = (600 - speed * t, 236, 200)
        elif name == "leaving and returning":
            people = {0: (400, 240, 200)}
            x = 60 - 4 * t if t < 20 else -20 + 4 * (t - 60) if t >= 60 else None
            if x is not None:
                people[1] = (x, 235, 210)
        elif name == "side by side":
            people = {k: (100 + 50 * k + 3 * t, 240 + 4 * k, 200) for k in range(4)}
        frame = []
        for k, (x, y, height) in people.items():
            swing = 0.12 * np.sin(2 * np.pi * (t / FPS + 0.3 * k))
            figure = FIGURE.copy()
            figure[[9, 16], 0] += swing
            figure[[10, 15], 0] -= swing
            noise = 0.03 if name == "jitter" else 0.01
            keypoints = figure * height + (x, y) + rng.normal(0, noise * height, (17, 2))
            if name == "misses and false boxes" and rng.random() < 0.15:
                continue
            frame.append((k, keypoints, rng.uniform(0.4, 0.7)))
        if name == "misses and false boxes" and rng.random() < 0.2:
            place = rng.uniform((0, 100), (640, 380))
            frame.append((-1, FIGURE * 180 + place, rng.uniform(0.2, 0.6)))
        order = rng.permutation(len(frame))
        frames.append([(frame[i][0], one_person(frame[i][1], frame[i][2])) for i in order])
    return frames


def one_person(keypoints: np.ndarray, score: float) -> Poses:
    low, high = keypoints.min(0), keypoints.max(0)
    return Poses(
        keypoints[None], np.full((1, 17), 0.8), np.concatenate([low, high])[None], np.array([score])
    )


SCENES = ["crossing", "occlusion", "leaving and returning", "side by side", "jitter"]
SCENES += ["misses and false boxes"]


def join(people: list[Poses]) -> Poses:
    if not people:
        return Poses.empty()
    names = ("keypoints", "keypoint_scores", "boxes", "scores")
    return Poses(*(np.concatenate([getattr(p, n) for p in people]) for n in names))


def run_scene(name: str, make: Callable[[float], Ids], seeds: int = 10) -> dict[str, float]:
    switches = false = shown = total = 0
    for seed in range(seeds):
        step, last = make(FPS), {}
        for t, frame in enumerate(scene(name, seed)):
            total += sum(k >= 0 for k, _ in frame)
            for row, identity in step(join([p for _, p in frame]), t / FPS):
                k = frame[row][0]
                if k < 0:
                    false += 1
                    continue
                shown += 1
                switches += last.get(k, identity) != identity
                last[k] = identity
    return {"switches": switches, "false_shown": false, "shown": round(shown / total, 3)}


# --- clips ---


def estimate(path: Path, limit: int) -> tuple[float, list[tuple[np.ndarray, float]], list[Poses]]:
    from pcr_rt import PoseEstimator
    from pcr_rt.media import VideoReader

    estimator = PoseEstimator()
    with VideoReader(path) as video:
        frames = [pair for _, pair in zip(range(limit), video, strict=False)]
        return video.fps, frames, [estimator(frame) for frame, _ in frames]


def run_clip(
    make: Callable[[float], Ids], fps: float, times: list[float], found: list[Poses]
) -> dict[str, float]:
    step, tracks = make(fps), defaultdict(list)
    start = time.perf_counter()
    for t, (now, poses) in enumerate(zip(times, found, strict=True)):
        for _, identity in step(poses, now):
            tracks[identity].append(t)
    spent = (time.perf_counter() - start) / len(found) * 1e3
    lengths = sorted((len(v) for v in tracks.values()), reverse=True)
    return {
        "ids": len(lengths),
        "gaps": int(sum((np.diff(v) > 1).sum() for v in tracks.values())),
        "median_length": float(np.median(lengths)) if lengths else 0,
        "people_shown": round(sum(lengths) / max(1, sum(map(len, found))), 3),
        "ms_per_frame": round(spent, 3),
    }


def detect_every(
    n: int, frames: list[tuple[np.ndarray, float]], truth: list[Poses]
) -> dict[str, float]:
    """Agreement with detection on every frame: people found again, and their mean OKS."""
    from pcr_rt import PoseEstimator

    estimator, tracker = PoseEstimator(), Tracker(n)
    detections = people = again = extra = 0
    similarity, ids = [], set()
    for (frame, now), expected in zip(frames, truth, strict=True):
        regions = tracker.regions(frame)
        poses = estimator(frame, regions)
        detections += regions is None
        ids |= set(tracker.update(poses, timestamp=now, detected=regions is None).ids.tolist())
        people += len(expected)
        oks = np.array([[plain_oks(e, p) for p in poses] for e in expected])
        pairs = assign(oks.reshape(len(expected), len(poses)), 0.5)
        again += len(pairs)
        extra += len(poses) - len(pairs)
        similarity += [oks[pair] for pair in pairs]
    return {
        "detector_share": round(detections / len(frames), 3),
        "people_found_again": round(again / max(1, people), 3),
        "extra_people": round(extra / max(1, people), 3),
        "mean_oks": round(float(np.mean(similarity)), 4) if similarity else 0.0,
        "ids": len(ids),
    }


def plain_oks(a: Poses, b: Poses) -> float:
    """COCO's OKS of row 0 of each, every keypoint weighing the same."""
    area = (a.boxes[0, 2:] - a.boxes[0, :2]).prod()
    squared = ((a.keypoints[0] - b.keypoints[0]) ** 2).sum(-1)
    return float(np.exp(-squared / (2 * area * (2 * SIGMAS) ** 2)).mean())


def smoothing(times: list[float], found: list[Poses], fps: float) -> dict[str, float]:
    """Frame-to-frame second difference of keypoints per height, and the lag, raw and smoothed."""
    tracker, smoother = Tracker(), Smoother()
    raw, smooth = defaultdict(list), defaultdict(list)
    for now, poses in zip(times, found, strict=True):
        tracked = tracker.update(poses, timestamp=now, detected=True)
        for before, after in zip(tracked, smoother(tracked, now), strict=True):
            raw[int(before.ids[0])].append(before)
            smooth[int(before.ids[0])].append(after)
    still, lags = [], []
    for key in raw:
        if len(raw[key]) < 30:
            continue
        sure = np.mean([p.keypoint_scores[0] for p in raw[key]], 0) > 0.4
        height = np.mean([p.boxes[0, 3] - p.boxes[0, 1] for p in raw[key]])
        a, b = (np.array([p.keypoints[0] for p in x[key]])[:, sure] / height for x in (raw, smooth))
        pace = np.linalg.norm(a[5:] - a[:-5], axis=-1) * fps / 5
        jitter = [np.linalg.norm(np.diff(x, 2, axis=0), axis=-1)[3:] for x in (a, b)]
        quiet = pace[: len(jitter[0])] < 0.15
        if quiet.any():
            still.append([np.sqrt((j[: len(quiet)][quiet] ** 2).mean()) for j in jitter])
        for joint in range(a.shape[1]):
            if np.percentile(pace[:, joint], 75) > 0.5:
                lags.append(lag(a[:, joint], b[:, joint]))
    ratio = np.array(still)
    return {
        "still_people": len(still),
        "jitter_falls_by": round(float(1 - (ratio[:, 1] / ratio[:, 0]).mean()), 3) if still else -1,
        "fast_keypoints": len(lags),
        "lag_frames_median": round(float(np.median(lags)), 2) if lags else -1,
        "lag_frames_p95": round(float(np.percentile(lags, 95)), 2) if lags else -1,
    }


def lag(raw: np.ndarray, smooth: np.ndarray) -> float:
    """Frames by which the raw path must be held back to correlate best with the smoothed one."""
    times, best = np.arange(5, len(raw)), []
    shifts = np.linspace(0, 4, 81)
    for shift in shifts:
        moved = [np.interp(times - shift, np.arange(len(raw)), raw[:, axis]) for axis in (0, 1)]
        a, b = np.diff(np.array(moved)), np.diff(smooth[5:].T)
        best.append((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum() + 1e-12))
    return float(shifts[int(np.argmax(best))])


def speed(people: int = 10, frames: int = 300) -> dict[str, float]:
    """Milliseconds a frame of tracker and smoother, without the regions' thumbnail."""
    rng = np.random.default_rng(0)
    tracker, smoother, spent = Tracker(), Smoother(), []
    for t in range(frames):
        places = [(100 + 110 * k + 2 * t, 300 + 20 * (k % 3)) for k in range(people)]
        figures = [FIGURE * 200 + p + rng.normal(0, 2, (17, 2)) for p in places]
        poses = join([one_person(f, 0.6) for f in figures])
        start = time.perf_counter()
        tracked = tracker.update(poses, timestamp=t / FPS, detected=True)
        middle = time.perf_counter()
        smoother(tracked, t / FPS)
        spent.append((middle - start, time.perf_counter() - middle))
    picture = rng.integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    between, looks = Tracker(10), []
    between.update(poses, timestamp=0, detected=True)
    for _ in range(50):
        start = time.perf_counter()
        between.regions(picture)
        looks.append(time.perf_counter() - start)
    track, smooth = np.median(spent, axis=0) * 1e3
    return {
        "people": people,
        "track_ms": round(float(track), 3),
        "smooth_ms": round(float(smooth), 3),
        "regions_1080p_ms": round(float(np.median(looks)) * 1e3, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, help="folder of videos")
    parser.add_argument("--frames", type=int, default=200, help="of each clip")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    makers = candidates()
    results: dict[str, object] = {"machine": machine(), "speed": speed()}
    results["scenes"] = {
        name: {who: run_scene(name, make) for who, make in makers.items()} for name in SCENES
    }
    print(json.dumps(results, indent=1))
    clips: dict[str, object] = {}
    for path in sorted(options.clips.glob("*.mp4")) if options.clips else []:
        fps, frames, found = estimate(path, options.frames)
        times = [now for _, now in frames]
        clips[path.stem] = {
            "frames": len(frames),
            "people": sum(map(len, found)),
            "trackers": {who: run_clip(make, fps, times, found) for who, make in makers.items()},
            "smoothing": smoothing(times, found, fps),
            "detect_every": {n: detect_every(n, frames, found) for n in (1, 5, 10)},
        }
        print(json.dumps({path.stem: clips[path.stem]}, indent=1), flush=True)
        results["clips"] = clips
    write_json(options.output, results)


if __name__ == "__main__":
    main()
