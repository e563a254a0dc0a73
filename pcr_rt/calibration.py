"""Raw scores to probabilities: the monotone tables that a model file carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import ModelError

__all__ = ["Calibration", "Knots"]

Knots = tuple[tuple[float, float], ...]
"""Points (raw score, probability) of a piecewise linear curve; both rise from point to point."""


@dataclass(frozen=True)
class Calibration:
    """What the raw scores of a model mean.

    keypoints: from a keypoint's peak to the probability that the keypoint lies within OKS 0.5 of
    its label, given that its person is right and that it is in the image. people: from box score x
    factor of the keypoint scores to the probability that there is a person, placed within OKS 0.5.
    Both curves rise strictly, so no two scores become equal and no order changes.

    Raises ModelError for a curve of fewer than two knots, with NaN, or one that does not rise.
    """

    keypoints: Knots
    people: Knots

    def __post_init__(self) -> None:
        for name in ("keypoints", "people"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Calibration:
        """Read the table that `dataclasses.asdict` made of one. Raises ModelError for another."""
        if not isinstance(table, Mapping) or set(table) != {"keypoints", "people"}:
            raise ModelError("The model's calibration needs 'keypoints' and 'people', no more.")
        return cls(**table)

    def of_keypoints(self, peaks: NDArray[Any]) -> NDArray[np.float32]:
        """Turn peaks of any shape into probabilities; those outside the knots get the outermost."""
        return _interpolate(self.keypoints, peaks).astype(np.float32)

    def of_people(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Turn raw person scores of any shape into probabilities, as `of_keypoints` does."""
        return _interpolate(self.people, scores)


def _checked(name: str, knots: Any) -> Knots:
    try:
        points = np.asarray(knots, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise ModelError(
            f"The model's calibration of {name} needs two knots (raw score, probability) or more."
        )
    # A comparison with NaN is false.
    rises = bool((np.diff(points, axis=0) > 0).all())
    bounded = bool(np.isfinite(points).all() and points[0, 1] >= 0 and points[-1, 1] <= 1)
    if not (rises and bounded):
        raise ModelError(
            f"The model's calibration of {name} must rise from knot to knot, with probabilities"
            " from 0 to 1."
        )
    return tuple((float(raw), float(probability)) for raw, probability in points)


def _interpolate(knots: Knots, raw: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.interp(raw, *_curve(knots)), dtype=np.float64)


@cache
def _curve(knots: Knots) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the knots as arrays, which are made once."""
    x, y = np.array(knots).T.copy()
    return x, y
