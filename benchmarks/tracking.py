"""Tracking on clips, and the detector on every n-th frame.

    python benchmarks/tracking.py --clips FOLDER [--frames 200] --output tracking.json

Compares PCR-RT's tracker with an IoU tracker and, if they are installed, with ByteTrack and
OC-SORT (PyPI ``trackers``) and norfair's keypoint distance. Each has the settings that
tracker_settings.py found best on the drawn scenes, ours its defaults.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import machine, write_json
from tracker_makers import BEST, candidates, with_best
from tracker_scenes import FIGURE, FPS, Ids, join, one_person

from pcr_rt.poses import Poses
from pcr_rt.skeleton import keypoint_similarity
from pcr_rt.tracking.association import assign
from pcr_rt.tracking.smoother import Smoother
from pcr_rt.tracking.tracker import Tracker


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
    """Compare with detection on every frame: people found again, and their mean OKS."""
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
    """Compute COCO's OKS of row 0 of each, every keypoint weighing the same."""
    area = (a.boxes[0, 2:] - a.boxes[0, :2]).prod()
    return float(keypoint_similarity(a.keypoints[0], b.keypoints[0], area).mean())


def speed(people: int = 10, frames: int = 300) -> dict[str, float]:
    """Time tracker and smoother in milliseconds a frame, without the regions' thumbnail."""
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
    image = rng.integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    between, looks = Tracker(10), []
    between.update(poses, timestamp=0, detected=True)
    for _ in range(50):
        start = time.perf_counter()
        between.regions(image)
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
    parser.add_argument("--clips", type=Path, required=True, help="folder of videos")
    parser.add_argument("--frames", type=int, default=200, help="of each clip")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    makers = {who: with_best(who, make) for who, (make, _) in candidates().items()}
    clips: dict[str, object] = {}
    results: dict[str, object] = {"machine": machine(), "speed": speed(), "settings": BEST}
    results["clips"] = clips
    for path in sorted(options.clips.glob("*.mp4")):
        fps, frames, found = estimate(path, options.frames)
        times = [now for _, now in frames]
        clips[path.stem] = {
            "frames": len(frames),
            "people": sum(map(len, found)),
            "trackers": {who: run_clip(make, fps, times, found) for who, make in makers.items()},
            "detect_every": {n: detect_every(n, frames, found) for n in (1, 5, 10)},
        }
        print(json.dumps({path.stem: clips[path.stem]}, indent=1), flush=True)
    write_json(options.output, results)


if __name__ == "__main__":
    main()
