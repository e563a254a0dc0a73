"""Steadier keypoints: the One-Euro filter (Casiez, Roussel and Vogel, CHI 2012), one a keypoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.poses import SURE_KEYPOINT, Poses

__all__ = ["Smoother"]

Float = NDArray[np.float64]

DERIVATIVE_CUTOFF_HZ = 1.0
TREMBLING = 0.1
"""Heights a second: speeds well below it are taken for trembling and hardly raise the cut-off."""
MIN_WEIGHT = 0.1
"""Share of its own step that a keypoint of score 0 takes."""
SIZE_S = 1.0
"""Time constant of a person's height, so that a box that flickers does not."""


@dataclass
class _State:
    """One person: smoothed keypoints, speeds in heights a second, height in pixels, last time."""

    keypoints: Float
    speed: Float
    raw: Float
    height: float
    time: float


class Smoother:
    """Smooths each keypoint of each id by its speed: still ones much, fast ones hardly.

    One instance a source, frames in order.

    Parameters
    ----------
    min_cutoff_hz
        Cut-off frequency of a keypoint at rest; lower is steadier.
    beta
        Cut-off gained for each person height a second, in Hz; higher lags less.
    confident
        Keypoint score from which on a keypoint moves freely; less sure ones move less. None: 0.8
        if scores are probabilities, 0.3 if raw.
    max_gap_s
        A person who was away for longer starts anew.

    Raises
    ------
    InputError
        For an option that is not positive.
    """

    def __init__(
        self,
        min_cutoff_hz: float = 0.5,
        beta: float = 8.0,
        *,
        confident: float | None = None,
        max_gap_s: float = 0.5,
    ) -> None:
        if min(min_cutoff_hz, beta, max_gap_s) <= 0 or (confident is not None and confident <= 0):
            raise InputError("min_cutoff_hz, beta, confident and max_gap_s must be positive.")
        self.min_cutoff_hz = min_cutoff_hz
        self.beta = beta
        self.confident = confident
        self.max_gap_s = max_gap_s
        self._states: dict[int, _State] = {}

    def reset(self) -> None:
        """Forget everybody."""
        self._states = {}

    def __call__(self, poses: Poses, timestamp: float) -> Poses:
        """The same people with smoothed keypoints; timestamp in seconds.

        Boxes, scores and ids stay. Raises InputError for poses without ids.
        """
        gap = self.max_gap_s
        self._states = {i: s for i, s in self._states.items() if timestamp - s.time <= gap}
        if not len(poses):
            return poses  # read from JSON, nobody has no ids either
        if poses.ids is None:
            raise InputError("The smoother needs poses with ids: give it those of a Tracker.")
        keypoints = poses.keypoints.astype(np.float64)
        known = [r for r, i in enumerate(poses.ids.tolist()) if i in self._states]
        if known:
            ids = poses.ids[known].tolist()
            states = [self._states[i] for i in ids]
            keypoints[known] = self._filter(states, keypoints[known], poses, known, timestamp)
        for row, identity in enumerate(poses.ids.tolist()):
            if identity not in self._states:
                start = keypoints[row].copy()
                height = _height(poses.boxes[row])
                self._states[identity] = _State(
                    start, np.zeros_like(start), start, height, timestamp
                )
        return poses.replace(keypoints=keypoints.astype(np.float32))

    def _filter(
        self, states: list[_State], raw: Float, poses: Poses, rows: list[int], now: float
    ) -> Float:
        """Smoothed keypoints (n, K, 2) of known people."""
        elapsed = np.array([max(now - s.time, 1e-6) for s in states])[:, None, None]
        for state, row in zip(states, rows, strict=True):
            share = -math.expm1(-max(now - state.time, 0.0) / SIZE_S)
            state.height += share * (_height(poses.boxes[row]) - state.height)
        height = np.array([s.height for s in states])[:, None, None]
        confident = self.confident or SURE_KEYPOINT[poses.score_kind]
        weight = (poses.keypoint_scores[rows] / confident).clip(MIN_WEIGHT, 1)[..., None]
        last = np.array([s.keypoints for s in states])
        speed = np.array([s.speed for s in states])
        measured = (raw - np.array([s.raw for s in states])) / elapsed / height
        speed = speed + weight * _share(DERIVATIVE_CUTOFF_HZ, elapsed) * (measured - speed)
        pace = np.hypot(speed[..., :1], speed[..., 1:])  # both axes alike, else paths bend
        cutoff = self.min_cutoff_hz + self.beta * pace**2 / (pace + TREMBLING)
        smooth: Float = last + weight * _share(cutoff, elapsed) * (raw - last)
        for row, state in enumerate(states):
            state.keypoints, state.speed, state.raw = smooth[row], speed[row], raw[row]
            state.time = now
        return smooth


def _share(cutoff_hz: Any, elapsed: Float) -> Float:
    """The new sample's weight in a first-order low-pass filter."""
    share: Float = 1 / (1 + 1 / (2 * np.pi * cutoff_hz * elapsed))
    return share


def _height(box: NDArray[np.float32]) -> float:
    return max(float(box[3] - box[1]), float(box[2] - box[0]), 1.0)
