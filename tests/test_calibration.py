from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from pcr_rt.calibration import Calibration
from pcr_rt.errors import ModelError
from pcr_rt.models import ModelSpec

RISING = ((0.0, 0.1), (0.4, 0.5), (1.0, 0.9))


def test_scores_between_knots_lie_on_the_line_between_them() -> None:
    calibration = Calibration(keypoints=RISING, people=((0.2, 0.0), (0.6, 1.0)))
    peaks = np.array([[0.0, 0.1, 0.4], [0.7, 1.0, 1.3]], np.float32)
    # By hand: 0.1 is a quarter of the way from 0.1 to 0.5, 0.7 half of the way from 0.5 to 0.9.
    expected = [[0.1, 0.2, 0.5], [0.7, 0.9, 0.9]]
    found = calibration.of_keypoints(peaks)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(calibration.of_people(np.array([0.1, 0.3, 0.6])), [0, 0.25, 1])


def test_no_order_changes_and_no_ties_come_up() -> None:
    raw = np.linspace(0, 1, 1001)
    assert (np.diff(Calibration(RISING, RISING).of_people(raw)) > 0).all()


@pytest.mark.parametrize(
    "knots",
    [
        (),
        ((0.0, 0.1),),
        ((0.0, 0.5), (1.0, 0.4)),
        ((0.0, 0.5), (1.0, 0.5)),
        ((0.5, 0.1), (0.5, 0.9)),
        ((0.0, 0.1), (0.5, float("nan")), (1.0, 0.9)),
        ((float("nan"), 0.1), (1.0, 0.9)),
        ((0.0, 0.1), (1.0, 1.1)),
        ((0.0, -0.1), (1.0, 1.0)),
        ((0.0, 0.1), (float("inf"), 1.0)),
        ((0.0, 0.1, 0.2), (1.0, 0.9, 1.0)),
        (("a", "b"), ("c", "d")),
        5,
        None,
    ],
)
def test_a_curve_that_does_not_rise_is_refused(knots: Any) -> None:
    with pytest.raises(ModelError, match="calibration of keypoints"):
        Calibration(knots, RISING)
    with pytest.raises(ModelError, match="calibration of people"):
        Calibration(RISING, knots)


@pytest.mark.parametrize(
    "table", [[], "x", {"keypoints": RISING}, {"keypoints": RISING, "people": RISING, "more": 1}]
)
def test_a_table_of_another_kind_is_refused(table: Any) -> None:
    with pytest.raises(ModelError, match="calibration"):
        Calibration.from_table(table)


def test_a_spec_carries_its_calibration() -> None:
    spec = ModelSpec("x", "heatmap", (192, 256), calibration=Calibration(RISING, RISING[:2]))
    assert ModelSpec.from_json(spec.to_json()) == spec
    raw = dataclasses.replace(spec, calibration=None)
    assert ModelSpec.from_json(raw.to_json()).calibration is None


def test_a_spec_of_a_calibration_that_falls_is_refused() -> None:
    spec = ModelSpec("x", "heatmap", (192, 256), calibration=Calibration(RISING, RISING))
    table = json.loads(spec.to_json())
    table["calibration"]["people"][2][1] = 0.2
    with pytest.raises(ModelError, match="calibration of people"):
        ModelSpec.from_json(json.dumps(table))
