"""People of whom a part is hidden: beyond the image's border, or behind something.

A cut runs through the body between two of its keypoints. What lies beyond it is black, as beyond a
border, or shows another image, as of something that stands in front; the box shrinks to what is
left, as labelled boxes do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcr_rt.geometry import Size, apply_transform
from pcr_rt.training.data.person import Person

__all__ = ["TruncatedPerson", "truncate"]

SURE = 0.3
"""Keypoints of lower amplitude say nothing about where a body may be cut."""
LEAST_SHARE, LEAST_LEFT, LEAST_SIDE = 0.3, 2, 12.0
LEFT, ABOVE, RIGHT, BELOW = range(4)
"""Which part a cut hides: the index of its coordinate in an xyxy rectangle."""
HIDDEN = {BELOW: 0.48, ABOVE: 0.12, LEFT: 0.2, RIGHT: 0.2}
"""How often which part is hidden; people cut off below are the commonest in photographs."""
SECOND_CUT = 0.2
COVERED = 0.5
MARGIN = 0.12
"""What a box reaches beyond the keypoints that are left, as a part of its longer side."""


@dataclass(frozen=True)
class TruncatedPerson(Person):
    """A person of whom only what lies inside ``visible`` is seen.

    visible: (4,) xyxy in pixels of the image, infinite if nothing is cut. cover: the image
    that shows in place of the rest, None for black. Keypoints outside have amplitude 0 and lie in
    the middle of the box: where they were may be outside the crop, of which nothing is learnt.
    """

    visible: NDArray[np.float64]
    cover: Path | None

    def seen(self, matrix: NDArray[np.float64], size: Size) -> NDArray[np.bool_]:
        """Tell which pixels (h, w) of the crop lie inside; matrix (2, 3): crop to image pixels."""
        grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1)
        return _inside(apply_transform(matrix, grid), self.visible)


def truncate(person: Person, covers: Sequence[Person], rng: np.random.Generator) -> Person:
    """Put a person behind a random cut; too few sure keypoints leave it as it is.

    covers: people whose images may hide a part of this one.
    """
    points = person.keypoints
    kept = (person.weights > 0) & (person.amplitudes > SURE)
    if kept.sum() < max(LEAST_SHARE * len(kept), LEAST_LEFT + 2):
        return person
    visible = np.array([-np.inf, -np.inf, np.inf, np.inf])
    for side in _sides(rng):
        if kept.sum() < LEAST_LEFT + 2:
            break
        axis, sign = side % 2, 1 if side in (RIGHT, BELOW) else -1
        along = np.sort(sign * points[kept, axis])  # from what stays to what goes
        last = rng.integers(LEAST_LEFT, len(along))
        visible[side] = sign * (along[last - 1] + (along[last] - along[last - 1]) * rng.random())
        kept &= _inside(points, visible)
    if kept.sum() < LEAST_LEFT:
        return person
    box = _box_of_the_rest(person.box, points[kept], visible)
    if (box[2:] - box[:2]).min() < LEAST_SIDE:
        return person
    cover = covers[int(rng.integers(len(covers)))].image if rng.random() < COVERED else None
    if cover == person.image:  # it would hide nothing
        cover = None
    fields = {field.name: getattr(person, field.name) for field in dataclasses.fields(Person)}
    inside = _inside(points, visible)
    fields |= {
        "box": box,
        "amplitudes": np.where(inside, person.amplitudes, 0.0),
        "keypoints": np.where(inside[:, None], points, (box[:2] + box[2:]) / 2),
    }
    return TruncatedPerson(**fields, visible=visible, cover=cover)


def _sides(rng: np.random.Generator) -> list[int]:
    side = int(rng.choice(list(HIDDEN), p=list(HIDDEN.values())))
    if rng.random() >= SECOND_CUT:
        return [side]
    return [side, int(rng.choice([LEFT, RIGHT])) if side in (ABOVE, BELOW) else BELOW]


def _inside(points: NDArray[np.float64], visible: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(((points >= visible[:2]) & (points <= visible[2:])).all(-1))


def _box_of_the_rest(
    box: NDArray[np.float64], points: NDArray[np.float64], visible: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cut the box (4,) to what is visible, and across a cut to the keypoints that are left."""
    margin = MARGIN * (box[2:] - box[:2]).max()
    low = np.maximum(box[:2], visible[:2])
    high = np.minimum(box[2:], visible[2:])
    for axis in (0, 1):
        if np.isfinite(visible[[1 - axis, 3 - axis]]).any():
            low[axis] = max(low[axis], points[:, axis].min() - margin)
            high[axis] = min(high[axis], points[:, axis].max() + margin)
    return np.concatenate([low, high])
