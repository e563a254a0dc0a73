"""The trackers that are compared, each with the settings it may have.

A maker takes the frame rate and settings and gives a function (poses, time) -> [(row, id)]. People
who are not seen keep their id for two seconds in all of them.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from tracker_scenes import Ids

from pcr_rt.geometry import box_iou
from pcr_rt.poses import Poses
from pcr_rt.tracking.association import assign
from pcr_rt.tracking.tracker import Tracker

LOST_S = 2.0


def make_ours(fps: float, **settings: Any) -> Ids:
    tracker = Tracker(max_lost_s=LOST_S, **settings)

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        result = tracker.update(poses, timestamp=now, detected=True)
        rows = [int((poses.keypoints == k).all((1, 2)).argmax()) for k in result.keypoints]
        return list(zip(rows, result.ids.tolist(), strict=True))

    return step


def make_iou(fps: float, min_iou: float) -> Ids:
    tracks: dict[int, tuple[np.ndarray, float]] = {}
    counter = [0]

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        for key in [k for k, (_, seen) in tracks.items() if now - seen > LOST_S]:
            del tracks[key]
        keys, pairs = list(tracks), {}
        if keys and len(poses):
            iou = box_iou(np.stack([tracks[k][0] for k in keys]), poses.boxes)
            pairs = {column: keys[row] for row, column in assign(iou, min_iou)}
        for row in range(len(poses)):
            if row not in pairs:
                counter[0] += 1
                pairs[row] = counter[0]
            tracks[pairs[row]] = (poses.boxes[row], now)
        return sorted(pairs.items())

    return step


def make_library(name: str, fps: float, **settings: Any) -> Ids:
    import supervision
    import trackers

    if name == "ByteTrackTracker":
        settings["track_activation_threshold"] = settings["high_conf_det_threshold"]
    # lost_track_buffer counts frames at 30 a second.
    tracker = getattr(trackers, name)(
        lost_track_buffer=round(30 * LOST_S), frame_rate=fps, **settings
    )

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


def make_norfair(fps: float, threshold: float, delay: int) -> Ids:
    import norfair

    logging.getLogger().setLevel(logging.ERROR)  # it warns of scalar distances every time

    def distance(found: Any, track: Any) -> float:
        size = np.ptp(found.points, axis=0).max()
        return float(np.linalg.norm(found.points - track.estimate, axis=1).mean() / size)

    tracker = norfair.Tracker(
        distance, threshold, hit_counter_max=round(LOST_S * fps), initialization_delay=delay
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


def grid(**choices: list[Any]) -> list[dict[str, Any]]:
    """List all combinations; the first one is the default."""
    values = itertools.product(*choices.values())
    return [dict(zip(choices, chosen, strict=True)) for chosen in values]


BEST: dict[str, dict[str, Any]] = {
    "ours": {},
    "iou": {"min_iou": 0.1},
    "ByteTrack": {
        "high_conf_det_threshold": 0.35,
        "minimum_iou_threshold": 0.1,
        "minimum_consecutive_frames": 1,
    },
    "OC-SORT": {
        "high_conf_det_threshold": 0.35,
        "minimum_iou_threshold": 0.3,
        "minimum_consecutive_frames": 1,
        "direction_consistency_weight": 0.2,
    },
    "norfair": {"threshold": 0.3, "delay": 1},
}
"""Best of each grid on all drawn scenes, by tracker_settings.py; ours are its defaults."""


def with_best(who: str, make: Callable[..., Ids]) -> Callable[[float], Ids]:
    """Give a candidate's maker with its settings of BEST."""
    return partial(make, **BEST[who.split(" ")[0]])


# Thresholds of the libraries are for detector scores of 0.6 and more; ours are 0.2 to 0.7.
HIGH = [0.35, 0.25, 0.45]


def candidates() -> dict[str, tuple[Callable[..., Ids], list[dict[str, Any]]]]:
    """List name -> (maker, settings to choose from), the libraries if they are installed."""
    found: dict[str, tuple[Callable[..., Ids], list[dict[str, Any]]]] = {
        "ours": (make_ours, grid(start_score=HIGH, min_oks=[0.1, 0.2], min_hits=[2, 3])),
        "iou": (make_iou, grid(min_iou=[0.3, 0.1, 0.5])),
    }
    try:
        name = "trackers " + version("trackers")
        found[f"ByteTrack ({name})"] = (
            partial(make_library, "ByteTrackTracker"),
            grid(
                high_conf_det_threshold=HIGH,
                minimum_iou_threshold=[0.1, 0.3],
                minimum_consecutive_frames=[2, 1, 3],
            ),
        )
        found[f"OC-SORT ({name})"] = (
            partial(make_library, "OCSORTTracker"),
            grid(
                high_conf_det_threshold=HIGH,
                minimum_iou_threshold=[0.3, 0.1],
                minimum_consecutive_frames=[3, 1],
                direction_consistency_weight=[0.2, 0.0],
            ),
        )
        found["norfair " + version("norfair")] = (
            make_norfair,
            grid(threshold=[0.3, 0.15, 0.6], delay=[1, 3]),
        )
    except ModuleNotFoundError:
        print("The packages trackers and norfair are not installed: left out.")
    return found
