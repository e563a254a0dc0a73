"""How much steadier standing people of clips become, and how far fast keypoints lag behind.

    python benchmarks/smoothing.py --clips FOLDER [--frames 800] --output smoothing.json

Somebody stands during a second in which their middle keypoint moves by less than 2 % and each ankle
by less than 3 % of their height, both between means of a quarter of a second, so that trembling
decides nothing. Jitter is the root mean square of the way from frame to frame, once of all sure
keypoints, once of those that are still: moved by less than 2 % and never farther than 5 % from
their mean, which leaves out gesturing arms, but also keypoints that jump to somebody else.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from numpy.typing import NDArray

from pcr_rt import PoseEstimator
from pcr_rt.media import VideoReader
from pcr_rt.poses import Poses
from pcr_rt.skeleton import KEYPOINTS
from pcr_rt.tracking.smoother import Smoother
from pcr_rt.tracking.tracker import Tracker

Float = NDArray[np.floating[Any]]
ANKLES = [KEYPOINTS.index(f"{side}_ankle") for side in ("left", "right")]
SURE = 0.4
FAST = 0.5  # heights a second


def tracks_of(times: list[float], found: list[Poses]) -> dict[int, list[tuple[Poses, Poses]]]:
    """Collect (tracked, smoothed) by id, frame by frame."""
    tracker, smoother, tracks = Tracker(), Smoother(), defaultdict(list)
    for now, poses in zip(times, found, strict=True):
        tracked = tracker.update(poses, timestamp=now, detected=True)
        smoothed = smoother(tracked, now)
        for row, identity in enumerate(tracked.ids.tolist()):
            tracks[identity].append((tracked[row], smoothed[row]))
    return tracks


def measure(fps: float, times: list[float], found: list[Poses]) -> dict[str, Any]:
    """Measure both for a clip, from the estimator's people of each frame and its time."""
    jitter: dict[str, list[Any]] = {"still": [], "all": []}
    lags: list[float] = []
    for track in tracks_of(times, found).values():
        scores = np.array([before.keypoint_scores[0] for before, _ in track])
        height = np.median([before.boxes[0, 3] - before.boxes[0, 1] for before, _ in track])
        raw, smooth = (np.array([pair[k].keypoints[0] for pair in track]) / height for k in (0, 1))
        for still, everything in standing(raw, smooth, scores, round(fps)):
            jitter["still"].append(still)
            jitter["all"].append(everything)
        if len(track) >= 30:
            lags += fast_ones(raw, smooth, scores, fps)
    report: dict[str, Any] = {"frames": len(found), "standing_seconds": len(jitter["all"])}
    for which, steps in jitter.items():
        if steps:
            before, after = np.sqrt(np.mean(steps, axis=0))
            report[f"jitter_of_{which}_keypoints_falls_by"] = round(float(1 - after / before), 3)
    report["fast_keypoints"] = len(lags)
    if lags:
        report["lag_frames_median"] = round(float(np.median(lags)), 2)
        report["lag_frames_p95"] = round(float(np.percentile(lags, 95)), 2)
    return report


def standing(raw: Float, smooth: Float, scores: Float, second: int) -> list[tuple[Any, Any]]:
    """Sum squares, raw and smoothed, for each second of standing, of still keypoints and of all."""
    found, quarter = [], max(2, second // 4)
    for start in range(0, len(raw) - second + 1, second):
        part = slice(start, start + second)
        sure = scores[part].mean(0) > SURE
        moved = raw[part][-quarter:].mean(0) - raw[part][:quarter].mean(0)
        way = np.linalg.norm(moved, axis=-1)
        farthest = np.linalg.norm(raw[part] - raw[part].mean(0), axis=-1).max(0)
        still = sure & (way < 0.02) & (farthest < 0.05)
        if sure[ANKLES].all() and np.median(way[sure]) < 0.02 and way[ANKLES].max() < 0.03:
            found.append(tuple(squares(raw[part], smooth[part], which) for which in (still, sure)))
    return found


def squares(raw: Float, smooth: Float, joints: NDArray[np.bool_]) -> tuple[float, float]:
    steps = [np.diff(path[:, joints], axis=0) for path in (raw, smooth)]
    return float((steps[0] ** 2).sum(-1).mean()), float((steps[1] ** 2).sum(-1).mean())


def fast_ones(raw: Float, smooth: Float, scores: Float, fps: float) -> list[float]:
    """Give the lag in frames of each sure keypoint that is fast for a quarter of the time."""
    pace = np.linalg.norm(raw[5:] - raw[:-5], axis=-1) * fps / 5
    fast = (scores.mean(0) > SURE) & (np.percentile(pace, 75, axis=0) > FAST)
    return [lag(raw[:, joint], smooth[:, joint]) for joint in np.flatnonzero(fast)]


def lag(raw: Float, smooth: Float) -> float:
    """Find how many frames the raw path must be held back to correlate best with the smoothed."""
    times, best = np.arange(5, len(raw)), []
    shifts = np.linspace(0, 4, 81)
    for shift in shifts:
        moved = [np.interp(times - shift, np.arange(len(raw)), raw[:, axis]) for axis in (0, 1)]
        a, b = np.diff(np.array(moved)), np.diff(smooth[5:].T)
        best.append((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum() + 1e-12))
    return float(shifts[int(np.argmax(best))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="folder of videos")
    parser.add_argument("--frames", type=int, default=800, help="of each clip")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    clips: dict[str, Any] = {}
    with PoseEstimator() as estimator:
        for path in sorted(options.clips.glob("*.mp4")):
            with VideoReader(path) as video:
                pairs = [pair for _, pair in zip(range(options.frames), video, strict=False)]
                found = [estimator(frame) for frame, _ in pairs]
            clips[path.stem] = measure(video.fps, [now for _, now in pairs], found)
            print(json.dumps({path.stem: clips[path.stem]}), flush=True)
    write_json(options.output, {"machine": machine(), "clips": clips})


if __name__ == "__main__":
    main()
