"""oks_nms on the device against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from device_arrays import OnDevice
from pcr_rt.cuda_kernels import reference
from pcr_rt.errors import InputError
from pcr_rt.inference.selection import person_scores
from pcr_rt.skeleton import Skeleton


def crowd(n, seed=0, joints=17):
    """People in groups of near copies, with tied scores."""
    rng = np.random.default_rng(seed)
    poses = rng.uniform(0, 100, (max(n // 4, 1), joints, 2))
    keypoints = poses[rng.integers(0, len(poses), n)] + rng.normal(
        0, 1, (n, joints, 2)
    ) * rng.uniform(0, 6, (n, 1, 1))
    scores = rng.choice(np.linspace(0.1, 0.9, 30), n)
    return keypoints.astype(np.float32), scores, rng.uniform(1e3, 2e4, n)


def check(kernels, people, *, method, threshold=0.9, **sigmas):
    options = {"method": method, "threshold": threshold, **sigmas}
    expected, expected_scores = reference.oks_nms(*people, **options)
    keep, scores = kernels.oks_nms(*people, **options)
    assert keep.dtype == np.intp
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(keep, expected)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-6)
    return keep


@pytest.mark.parametrize("method", ["hard", "soft"])
@pytest.mark.parametrize("n", [1, 2, 20, 33, 300])
def test_crowds(kernels, n, method):
    for threshold in (0.5, 0.9) if n < 300 else (0.7,):
        keep = check(kernels, crowd(n), method=method, threshold=threshold)
    assert method == "soft" or n < 33 or 1 < len(keep) < n


@pytest.mark.parametrize("method", ["hard", "soft"])
@pytest.mark.parametrize("name", ["hand21", "halpe26", "coco_wholebody133", "ap10k17"])
def test_other_skeletons(kernels, name, method):
    skeleton = Skeleton.load(name)
    people = crowd(33, 4, len(skeleton))
    keep = check(kernels, people, method=method, threshold=0.5, sigmas=skeleton.sigma_array)
    assert method == "soft" or 1 < len(keep) < 33


@pytest.mark.parametrize("method", ["hard", "soft"])
def test_a_thousand_candidates(kernels, method):
    keypoints, scores, areas = crowd(1024, 1)
    check(kernels, (keypoints[:, :] * 0.2, scores, areas), method=method, threshold=0.6)


@pytest.mark.parametrize("method", ["hard", "soft"])
@pytest.mark.parametrize("area", [0.0, 1e-9, 1e4, 1e35])
def test_copies_and_areas_of_every_size(kernels, method, area):
    keypoints, scores, areas = crowd(24)
    keypoints[::3] = keypoints[0]
    areas[:] = area
    for threshold in (0.9, 1.0):
        check(kernels, (keypoints, scores, areas), method=method, threshold=threshold)


def test_close_calls_are_settled_in_double_precision(kernels):
    # The threshold is the OKS of a pair, to the last bit or one more or less.
    keypoints, scores, areas = crowd(40, 2)
    oks = reference.pairwise_oks(keypoints, areas)
    for value in np.sort(oks[np.triu_indices(40, 1)])[-40::8]:
        for threshold in (value - 1e-12, value + 1e-12):
            check(kernels, (keypoints, scores, areas), method="hard", threshold=threshold)


def test_keypoints_without_a_number(kernels):
    keypoints, scores, areas = crowd(12)
    keypoints[3, 5] = np.nan
    for threshold in (0.5, 0.9):
        check(kernels, (keypoints, scores, areas), method="hard", threshold=threshold)


@pytest.mark.parametrize("name", ["coco17", "hand21", "coco_wholebody133"])
@pytest.mark.parametrize("rule", [None, "mean>0.2", "mean", "rms"])
@pytest.mark.parametrize("method", ["hard", "soft"])
def test_many_frames_are_one_launch(emulated, method, rule, name):
    counts, sigmas = [0, 7, 30, 1], Skeleton.load(name).sigma_array
    frames = [crowd(n, seed, len(sigmas)) for seed, n in enumerate(counts)]
    keypoints, scores, areas = (np.concatenate(part) for part in zip(*frames, strict=True))
    first = np.concatenate([[0], np.cumsum(counts)])
    joints = (
        np.random.default_rng(3).uniform(-0.2, 1.2, (len(scores), len(sigmas))).astype(np.float32)
    )
    joints[5] = 0.1  # nobody above 0.2
    people = [OnDevice(a) for a in (keypoints, scores, areas, first.astype(np.int32))]
    options = {"method": method, "threshold": 0.7, "sigmas": sigmas}
    with_rule = {"keypoint_scores": OnDevice(joints), "person_score": rule} if rule else {}
    keep, lowered, kept = emulated.oks_nms_padded(*people, **options, **with_rule)
    assert emulated.launches == ["oks_nms"]
    totals = scores * person_scores(joints, rule) if rule else scores
    for i, n in enumerate(counts):
        rows = slice(first[i], first[i + 1])
        expected, expected_scores = reference.oks_nms(
            keypoints[rows], totals[rows], areas[rows], **options
        )
        assert kept[i] == len(expected) <= n
        np.testing.assert_array_equal(keep[rows][: kept[i]], expected)
        np.testing.assert_allclose(lowered[rows][: kept[i]], expected_scores, rtol=1e-6)


@pytest.mark.parametrize("method", ["hard", "soft"])
def test_nobody_costs_no_launch(emulated, method):
    people = np.empty((0, 17, 2)), np.empty(0), np.empty(0)
    keep, scores = emulated.oks_nms(*people, method=method)
    assert keep.shape == scores.shape == (0,)
    assert emulated.launches == []


def test_arrays_that_do_not_fit_together(emulated):
    keypoints, scores, areas = crowd(3)
    with pytest.raises(InputError, match="keypoints has shape"):
        emulated.oks_nms(keypoints[:, :5], scores, areas, method="hard")
    with pytest.raises(InputError, match="areas has shape"):
        emulated.oks_nms(keypoints, scores, areas[:2], method="hard")
