"""Who is who: similarity of keypoints, likeness, assignment; expected values by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pcr_rt.poses import Poses
from pcr_rt.skeleton import SIGMAS
from pcr_rt.tracking.appearance import SPREAD
from pcr_rt.tracking.association import _likeness, assign, cross_oks
from pcr_rt.tracking.people import People
from pcr_rt.tracking.track import Track


def test_oks_by_hand():
    known = np.zeros((1, 17, 2))
    found = np.zeros((2, 17, 2))
    found[1, 0] = (5.2, 0)  # nose: 2 sigma = 0.052, scale 100 px: 5.2 px is one deviation
    weights = np.zeros((1, 17))
    weights[0, :2] = 1
    areas = np.full((1, 2), 1e4)
    oks = cross_oks(known, weights, found, np.ones((2, 17)), areas, np.ones(1), SIGMAS)
    np.testing.assert_allclose(oks, [[1, (np.exp(-0.5) + 1) / 2]])


def test_assignment_takes_each_once():
    assert assign(np.array([[0.9, 0.8], [0.7, 0.05]]), 0.1) == [(0, 0)]
    assert assign(np.array([[0.5, 0.5], [0.5, 0.5]]), 0.1) == [(0, 0), (1, 1)]
    assert assign(np.zeros((0, 3)), 0.1) == []


@pytest.mark.parametrize(
    ("unlike", "predicted", "lost", "expected"),
    [
        (0.0, 0.0, False, 1.0),
        (2.0, 0.0, False, 0.60653),  # exp(-1/2)
        (1.0, 0.0, True, 0.88250),  # exp(-1/8)
        (3.5, 0.6, False, 0.21627),  # exp(-(3.5 / 2)^2 / 2)
        (4.0, 0.6, False, 0.2),  # no less
        (3.1, 0.49, False, 0.0),  # a stranger
        (3.1, 0.51, False, 0.30082),
        (2.9, 0.49, False, 0.34951),
        (1.9, 0.9, True, 0.63683),
        (2.1, 0.9, True, 0.0),  # who was away must look alike
        (np.nan, 0.1, False, 0.60653),
        (np.nan, 0.1, True, 0.60653),
    ],
)
def test_likeness_by_hand(unlike: float, predicted: float, lost: bool, expected: float) -> None:
    keypoints, scores = np.zeros((1, 17, 2)), np.full((1, 17), 0.9)
    poses = Poses(keypoints, scores, np.array([[0, 0, 50, 100]]), np.ones(1))
    people = People.of(poses, None, 1)
    known = dataclasses.replace(people, looks=np.zeros((1, 3, 3)))
    found = dataclasses.replace(people, looks=unlike * SPREAD[None])
    likeness = _likeness(
        [Track.begin(known, 0, 0.0)], found, np.array([[predicted]]), np.array([lost])
    )
    np.testing.assert_allclose(likeness, [[expected]], atol=1e-5)
