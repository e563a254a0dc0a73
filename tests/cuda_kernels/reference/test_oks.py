from __future__ import annotations

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from pcr_rt.cuda_kernels.reference import oks_nms, pairwise_oks
from pcr_rt.skeleton import SIGMAS


def people(*offsets, area=1e4):
    """One pose, moved to the right by each offset: keypoints (n, 17, 2) and areas (n,)."""
    pose = np.random.default_rng(0).uniform(0, 100, (17, 2))
    moved = pose + np.array(offsets, dtype=np.float64)[:, None, None] * (1, 0)
    return moved.astype(np.float32), np.full(len(offsets), area)


def oks_of_shift(distance, area=1e4):
    return float(np.exp(-(distance**2) / (2 * (2 * SIGMAS) ** 2 * area)).mean())


def test_oks_agrees_with_pycocotools():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 60, (1, 17, 2)) + rng.normal(0, 12, (6, 17, 2))
    areas = np.full(6, 3000.0)
    rows = np.concatenate([keypoints, np.full((6, 17, 1), 2.0)], axis=2).reshape(6, -1).tolist()
    evaluator = COCOeval(iouType="keypoints")
    people = [
        {"keypoints": row, "area": 3000.0, "bbox": [0, 0, 60, 60], "score": 6.0 - i}
        for i, row in enumerate(rows)
    ]
    evaluator._gts[1, 1] = evaluator._dts[1, 1] = people
    oks = pairwise_oks(keypoints, areas)
    np.testing.assert_allclose(oks, evaluator.computeOks(1, 1), atol=1e-9)
    np.testing.assert_allclose(np.diag(oks), 1)
    assert 0.05 < oks[0, 1] < 0.95


def test_oks_takes_the_mean_of_both_areas():
    keypoints = np.zeros((2, 3, 2))
    keypoints[1, :2, 0] = 3  # two of three joints are 3 pixels off
    oks = pairwise_oks(keypoints, np.array([100.0, 300.0]), np.array([0.1, 0.2, 0.3]))
    expected = (np.exp(-9 / (2 * 0.2**2 * 200)) + np.exp(-9 / (2 * 0.4**2 * 200)) + 1) / 3
    np.testing.assert_allclose(oks, [[1, expected], [expected, 1]])


def test_people_without_area():
    keypoints, _ = people(0, 0, 5)
    oks = pairwise_oks(keypoints, np.zeros(3))
    np.testing.assert_array_equal(oks, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("offsets", "scores", "threshold", "expected"),
    [
        ((0, 1, 200), (0.5, 0.9, 0.7), 0.9, [1, 2]),
        ((0, 1, 200), (0.5, 0.9, 0.7), 0.999999, [1, 2, 0]),
        ((0, 1, 2), (0.5, 0.5, 0.5), 0.9, [0]),
        ((0, 300, 600), (0.5, 0.7, 0.5), 0.9, [1, 0, 2]),
        ((0, 0), (0.5, 0.5), 1.0, [0, 1]),  # an OKS of just the threshold is not above it
        # The middle one is near both others, but is dropped itself.
        ((0, 6, 12), (0.9, 0.8, 0.7), oks_of_shift(8), [0, 2]),
    ],
)
def test_hard_suppression(offsets, scores, threshold, expected):
    keypoints, areas = people(*offsets)
    scores = np.array(scores, np.float32)
    keep, kept_scores = oks_nms(keypoints, scores, areas, method="hard", threshold=threshold)
    assert keep.tolist() == expected
    assert keep.dtype == np.intp
    assert kept_scores.dtype == np.float32
    np.testing.assert_array_equal(kept_scores, scores[expected])


def test_soft_suppression_lowers_scores_and_orders_anew():
    keypoints, areas = people(0, 3, 500)
    scores = np.array([0.9, 0.8, 0.5])
    keep, lowered = oks_nms(keypoints, scores, areas, method="soft", threshold=0.9)
    assert keep.tolist() == [0, 2, 1]
    second = 0.8 * np.exp(-(oks_of_shift(3) ** 2) / 0.9)
    np.testing.assert_allclose(lowered, [0.9, 0.5, second], rtol=1e-5)
    np.testing.assert_array_equal(scores, [0.9, 0.8, 0.5])


def test_soft_suppression_multiplies_over_all_kept():
    keypoints, areas = people(0, 4, 8)
    keep, lowered = oks_nms(keypoints, np.array([0.9, 0.8, 0.7]), areas, method="soft")
    near, far = (np.exp(-(oks_of_shift(d) ** 2) / 0.9) for d in (4, 8))
    # After the first, the third (0.7 far) is ahead of the second (0.8 near).
    assert keep.tolist() == [0, 2, 1]
    np.testing.assert_allclose(lowered, [0.9, 0.7 * far, 0.8 * near * near], rtol=1e-5)


def test_soft_suppression_keeps_equal_scores_in_order_and_ends_at_20():
    keypoints, areas = people(*range(0, 30_000, 1000))
    keep, scores = oks_nms(keypoints, np.full(30, 0.5), areas, method="soft")
    assert keep.tolist() == list(range(20))
    np.testing.assert_array_equal(scores, np.full(20, 0.5, np.float32))
    assert len(oks_nms(keypoints, np.full(30, 0.5), areas, method="hard")[0]) == 30


def test_soft_suppression_keeps_those_lowered_to_the_same_score_in_order():
    keypoints, areas = people(0, 0, 0, 0, 0)
    scores = np.array([0.5, 0.9, 0.7, 0.6, 0.8])
    keep, lowered = oks_nms(keypoints, scores, areas, method="soft", threshold=1e-3)
    assert keep.tolist() == [1, 0, 2, 3, 4]  # exp(-1000) is 0
    np.testing.assert_array_equal(lowered, np.float32([0.9, 0, 0, 0, 0]))


@pytest.mark.parametrize("method", ["hard", "soft"])
def test_nobody(method):
    keep, scores = oks_nms(np.empty((0, 17, 2)), np.empty(0), np.empty(0), method=method)
    assert keep.shape == scores.shape == (0,)
    assert keep.dtype == np.intp
