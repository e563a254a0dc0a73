"""What the tracking and smoothing benchmarks count."""

from __future__ import annotations

import itertools

import numpy as np
import smoothing
from tracker_scenes import SCENES, our_tracker, run_scene

from pcr_rt.poses import Poses


def from_left(fps: float):
    """Numbers the people by their place: right as long as nobody passes anybody."""

    def step(poses: Poses, now: float) -> list[tuple[int, int]]:
        order = np.argsort(poses.boxes[:, 0])
        return [(int(row), place) for place, row in enumerate(order)]

    return step


def never_the_same(fps: float):
    numbers = itertools.count()
    return lambda poses, now: [(row, next(numbers)) for row in range(len(poses))]


def nobody(fps: float):
    return lambda poses, now: []


def test_scenes_count_switches_and_misses():
    # Four people for 120 frames: each changes their id 119 times.
    assert run_scene("side by side", from_left, [0])["mota"] == 1
    found = run_scene("side by side", never_the_same, [0])
    assert found == {"switches": 476, "false_shown": 0, "shown": 1, "mota": round(4 / 480, 4)}
    assert run_scene("side by side", nobody, [0]) == {
        "switches": 0,
        "false_shown": 0,
        "shown": 0,
        "mota": 0,
    }
    assert run_scene("misses and false boxes", from_left, [0])["false_shown"] > 5


def test_our_tracker_shows_everybody_of_the_drawn_scenes_with_one_id():
    for name in SCENES:
        found = run_scene(name, our_tracker, [0])
        assert found["switches"] == 0, name
        assert found["shown"] > 0.98, name


def test_jitter_is_that_of_those_who_stand():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.001, (40, 17, 2))
    walking = noise + np.linspace(0, 1, 40)[:, None, None]
    gesturing = noise.copy()
    gesturing[:, 9] += 0.2 * np.sin(np.arange(40))[:, None]
    sure = np.ones((40, 17))
    assert smoothing.standing(walking, walking, sure, 20) == []
    still, everything = smoothing.standing(gesturing, noise / 2, sure, 20)[0]
    # Steps of white noise have twice its variance, on two axes; halving it leaves a quarter.
    np.testing.assert_allclose(still, [4e-6, 1e-6], rtol=0.15)
    assert everything[0] > 100 * still[0]


def test_a_path_held_back_by_two_frames_lags_by_two():
    path = np.random.default_rng(1).normal(size=(60, 2)).cumsum(0)
    assert smoothing.lag(path, np.roll(path, 2, axis=0)) == 2
