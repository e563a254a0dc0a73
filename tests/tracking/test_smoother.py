"""Signals with known truth: how much a standing person trembles, how far a fast one lags behind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.tracking.smoother import Smoother


def person(keypoints, *, height=200.0, score=0.9, identity=1):
    return Poses(
        keypoints=np.asarray(keypoints, np.float32)[None],
        keypoint_scores=np.full((1, 17), score),
        boxes=np.array([[0, 0, height / 3, height]]),
        scores=np.ones(1),
        ids=np.array([identity]),
    )


def run(signal, times, **options):
    """Smoothed (T, 17, 2) of a signal (T, 17, 2)."""
    smoother = Smoother()
    pairs = zip(signal, times, strict=True)
    return np.array([smoother(person(s, **options), t).keypoints[0] for s, t in pairs])


@pytest.mark.parametrize("height", [100.0, 400.0])
@pytest.mark.parametrize("fps", [10, 15, 30, 60])
def test_jitter_of_a_standing_person_falls_by_60_percent(fps, height):
    noise = np.random.default_rng(0).normal(0, 0.005 * height, (8 * fps, 17, 2))
    smooth = run(100 + noise, np.arange(8 * fps) / fps, height=height)
    jitter = [np.diff(x[fps:], axis=0).std() for x in (noise, smooth)]
    assert jitter[1] < 0.4 * jitter[0]


@pytest.mark.parametrize("fps", [10, 15, 30, 60])
def test_a_fast_motion_lags_at_most_one_frame(fps):
    times = np.arange(4 * fps) / fps
    path = 300 + 100 * np.sin(2 * np.pi * times)  # a wrist that swings by half a person's height
    smooth = run(np.broadcast_to(path[:, None, None], (len(times), 17, 2)), times)[:, 9, 0]
    shifts = np.linspace(0, 3, 301)
    inside = slice(fps, None)
    errors = [
        np.square(300 + 100 * np.sin(2 * np.pi * (times - s / fps)) - smooth)[inside].mean()
        for s in shifts
    ]
    assert shifts[np.argmin(errors)] <= 1


def test_scaling_the_image_scales_the_result():
    noise = np.cumsum(np.random.default_rng(1).normal(0, 2, (40, 17, 2)), axis=0)
    times = np.arange(40) / 30
    small, large = run(noise, times, height=150), run(4 * noise, times, height=600)
    np.testing.assert_allclose(large, 4 * small, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("x", "y"), [(20, 0), (0, -20), (12, 16)])
def test_the_first_step_by_hand_in_any_direction(x, y):
    # A step of 20 px in 0.1 s, height 200: speed 1 height/s; its filter (1 Hz) lets a share
    # 1 / (1 + 1 / (2 pi 0.1)) = 0.38587 through. Cut-off 0.5 + 8 x 0.38587^2 / (0.38587 + 0.1) =
    # 2.9516 Hz: share 1 / (1 + 1 / (2 pi 0.29516)) = 0.64968.
    signal = np.zeros((2, 17, 2))
    signal[1] = (x, y)
    smooth = run(signal, [0, 0.1])
    np.testing.assert_allclose(smooth[1], signal[1] * 0.64968, atol=2e-3)


def test_the_second_step_by_hand():
    # As the first; then the person stands: speed 0.38587 x (1 - 0.38587) = 0.236974, cut-off
    # 0.5 + 8 x 0.236974^2 / 0.336974 = 1.83320 Hz, share 1 / (1 + 1 / (2 pi 0.183320)) = 0.53528.
    signal = np.full((3, 17, 2), 20.0)
    signal[0] = 0
    signal[..., 1] = 0
    smooth = run(signal, [0, 0.1, 0.2])
    first = 20 * 0.64968
    np.testing.assert_allclose(smooth[2, :, 0], first + 0.53528 * (20 - first), atol=2e-3)


@pytest.mark.parametrize(
    ("kind", "confident", "score", "share"),
    [
        ("probability", None, 0.8, 0.64968),  # as in the first step
        ("probability", None, 0.4, 0.24397),
        ("probability", 0.4, 0.4, 0.64968),
        ("raw", None, 0.3, 0.64968),
        ("raw", None, 0.15, 0.24397),
        ("raw", 0.6, 0.3, 0.24397),
    ],
)
def test_a_keypoint_moves_freely_from_a_score_on(kind, confident, score, share):
    # With half the score: speed 0.5 x 0.38587 = 0.192935, cut-off 0.5 + 8 x 0.192935^2 / 0.292935
    # = 1.51658 Hz, share 1 / (1 + 1 / (2 pi 0.151658)) = 0.48794, of which half.
    smoother = Smoother(confident=confident)
    for x in (0, 20):
        poses = boxed(x, (0, 0, 10, 200), score).replace(score_kind=kind)
        found = smoother(poses, x / 200).keypoints[0, 0, 0]
    np.testing.assert_allclose(found, 20 * share, rtol=2e-4)


def test_unsure_keypoints_move_less():
    signal = np.zeros((2, 17, 2))
    signal[1] = 5
    sure, unsure = (run(signal, [0, 0.03], score=score)[1, 0, 0] for score in (0.9, 0.05))
    assert 0 < unsure < 0.5 * sure


def test_a_new_id_and_a_long_gap_start_anew():
    smoother = Smoother()
    smoother(person(np.zeros((17, 2))), 0)
    moved = np.full((17, 2), 90.0)
    np.testing.assert_array_equal(smoother(person(moved, identity=2), 0.03).keypoints[0], 90)
    np.testing.assert_array_equal(smoother(person(moved), 2.0).keypoints[0], 90)


def test_after_a_reset_nobody_is_known():
    smoother = Smoother()
    smoother(person(np.zeros((17, 2))), 0)
    smoother.reset()
    moved = smoother(person(np.full((17, 2), 90.0)), 0.03)
    np.testing.assert_array_equal(moved.keypoints[0], 90)


def test_empty_frames_equal_times_and_missing_ids():
    smoother = Smoother()
    empty = Poses.empty()
    assert len(smoother(Poses.from_dict(empty.to_dict()), 0)) == 0
    with pytest.raises(InputError, match="with ids"):
        smoother(dataclasses.replace(person(np.ones((17, 2))), ids=None), 0)
    nobody = Poses(
        empty.keypoints, empty.keypoint_scores, empty.boxes, empty.scores, ids=np.zeros(0, int)
    )
    assert len(smoother(nobody, 0)) == 0
    for time in (1.0, 1.0, 0.9):
        assert np.isfinite(smoother(person(np.ones((17, 2))), time).keypoints).all()


def boxed(x, box, score=0.9):
    """A person all of whose keypoints lie at (x, 0), in a box of their own."""
    signal = np.zeros((17, 2))
    signal[:, 0] = x
    return dataclasses.replace(person(signal, score=score), boxes=np.array([box], np.float32))


def second_step(first_box, second_box, x, *, elapsed=0.1, score=0.9):
    """x after a step from 0 in so many seconds."""
    smoother = Smoother()
    smoother(boxed(0, first_box, score), 8.0)
    return smoother(boxed(x, second_box, score), 8.0 + elapsed).keypoints[0, 0, 0]


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((100, 50, 150, 250), 200),
        ((100, 50, 400, 250), 300),
        ((100, 50, 100.5, 50.5), 1),
    ],
)
def test_a_person_is_as_large_as_their_boxs_longer_side(box, size):
    # A step of a tenth of the size in 0.1 s, as in the first step by hand.
    np.testing.assert_allclose(second_step(box, box, size / 10), size / 10 * 0.64968, rtol=2e-4)


def test_a_size_that_changes_counts_slowly():
    # In 0.1 s a share 1 - exp(-0.1) = 0.0951626 of the new size: 200 + 0.0951626 x 200 = 219.0325.
    # Speed 0.38587 x 200 / 219.0325 = 0.352341, cut-off 0.5 + 8 x 0.352341^2 / 0.452341 = 2.69559
    # Hz, share 1 / (1 + 1 / (2 pi 0.269559)) = 0.62876.
    found = second_step((0, 0, 10, 200), (0, 0, 10, 400), 20)
    np.testing.assert_allclose(found, 20 * 0.62876, rtol=2e-4)


def test_a_keypoint_without_any_score_takes_a_tenth_by_hand():
    # Speed 0.1 x 0.38587, cut-off 0.5 + 8 x 0.038587^2 / 0.138587 = 0.58595 Hz, share
    # 1 / (1 + 1 / (2 pi 0.058595)) = 0.26909, of which a tenth.
    box = (0, 0, 10, 200)
    np.testing.assert_allclose(second_step(box, box, 20, score=0.0), 20 * 0.026909, rtol=1e-3)


def test_two_frames_of_one_time_by_hand():
    # Of 1e-6 s: speed 2 pi 1e-6 x 20 / 1e-6 / 200 = 0.62832, cut-off 0.5 + 8 x 0.62832^2 / 0.72832
    # = 4.83636 Hz, share 2 pi 4.83636e-6 = 3.0388e-5.
    box = (0, 0, 10, 200)
    np.testing.assert_allclose(second_step(box, box, 20, elapsed=0.0), 20 * 3.0388e-5, rtol=1e-3)


def test_half_a_second_is_no_long_gap():
    box = (0, 0, 10, 200)
    assert second_step(box, box, 20, elapsed=0.5) < 19.9
    assert second_step(box, box, 20, elapsed=0.51) == 20


@pytest.mark.parametrize(
    "options", [{"beta": 0}, {"min_cutoff_hz": 0}, {"max_gap_s": 0}, {"confident": 0.0}]
)
def test_options_out_of_range(options):
    with pytest.raises(InputError, match="positive"):
        Smoother(**options)
    Smoother(**dict.fromkeys(options, 0.5))
