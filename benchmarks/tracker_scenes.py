"""Drawn people who walk known paths, and what a tracker makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pcr_rt.poses import Poses
from pcr_rt.tracking.tracker import Tracker

HALF = [(0.03, -0.44), (0.06, -0.43), (0.11, -0.32), (0.14, -0.16), (0.15, 0.0), (0.08, 0.04)]
HALF += [(0.08, 0.25), (0.08, 0.46)]
FIGURE = np.array([(0, -0.42)] + [(s * x, y) for x, y in HALF for s in (1, -1)])
FPS = 30
Ids = Callable[[Poses, float], list[tuple[int, int]]]
"""A tracker: people and the time -> (row, id) of those shown."""
SCENES = ["crossing", "occlusion", "leaving and returning", "side by side", "jitter"]
SCENES += ["misses and false boxes"]


def scene(name: str, seed: int) -> list[list[tuple[int, Poses]]]:
    """Make the frames of a scene: (true person or -1) of each row, with its Poses of one person."""
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


def join(people: list[Poses]) -> Poses:
    if not people:
        return Poses.empty()
    names = ("keypoints", "keypoint_scores", "boxes", "scores")
    return Poses(*(np.concatenate([getattr(p, n) for p in people]) for n in names))


def our_tracker(fps: float) -> Ids:
    """Make PCR-RT's tracker with its defaults, for `run_scene`."""
    tracker = Tracker()

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        result = tracker.update(poses, timestamp=now, detected=True)
        rows = [int((poses.keypoints == k).all((1, 2)).argmax()) for k in result.keypoints]
        return list(zip(rows, result.ids.tolist(), strict=True))

    return step


def run_scene(
    name: str, make: Callable[[float], Ids], seeds: Sequence[int] = range(10)
) -> dict[str, float]:
    """Count switches of id and false people, the share of true people shown, and MOTA.

    MOTA (Bernardin and Stiefelhagen 2008) is 1 - (missed + false + switches) / true people. Every
    person found in the image and not shown is missed; who was not found is not counted.
    """
    switches = false = shown = total = 0
    for seed in seeds:
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
    return {
        "switches": switches,
        "false_shown": false,
        "shown": round(shown / total, 3),
        "mota": round(1 - (total - shown + false + switches) / total, 4),
    }
