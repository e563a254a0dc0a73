from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pcr_rt.geometry import apply_transform, box_to_region, crop_transform, invert_transform
from pcr_rt.training.data.person import Person
from pcr_rt.training.data.truncation import (
    ABOVE,
    BELOW,
    HIDDEN,
    LEFT,
    RIGHT,
    TruncatedPerson,
    truncate,
)

BOX = np.array([30.0, 10, 150, 190])
X = np.linspace(40, 140, 17)[np.arange(17) * 7 % 17]  # no two alike, in no order
Y = np.linspace(20, 180, 17)


def someone(amplitudes: np.ndarray | float = 1.0) -> Person:
    points, each = np.column_stack([X, Y]), np.ones(17)
    return Person(Path("someone.jpg"), 1, BOX, points, amplitudes * each, each)


OTHERS = [Person(Path(f"{i}.jpg"), i, BOX, np.zeros((17, 2)), X, X) for i in range(3)]


def drawn(count: int, person: Person | None = None) -> list[TruncatedPerson]:
    rng = np.random.default_rng(0)
    people = [truncate(person or someone(), OTHERS, rng) for _ in range(count)]
    return [p for p in people if isinstance(p, TruncatedPerson)]


def test_what_is_hidden_has_no_keypoints_and_the_rest_keeps_its_own() -> None:
    whole = someone(np.linspace(0.4, 1, 17))
    for person in drawn(200, whole):
        x1, y1, x2, y2 = person.visible
        inside = (x1 <= X) & (x2 >= X) & (y1 <= Y) & (y2 >= Y)
        assert 2 <= inside.sum() < 17
        np.testing.assert_array_equal(person.amplitudes, whole.amplitudes * inside)
        np.testing.assert_array_equal(person.weights, whole.weights)
        np.testing.assert_array_equal(person.keypoints[inside], whole.keypoints[inside])
        assert (person.image, person.image_id) == (whole.image, whole.image_id)


def test_hidden_keypoints_lie_where_they_are_learnt_as_empty() -> None:
    for person in drawn(50):
        plain = crop_transform(*box_to_region(person.box, 48 / 64), (48, 64), "udp")[0]
        crop = invert_transform(plain)
        points = apply_transform(crop, person.keypoints)
        hidden = points[person.amplitudes == 0]
        np.testing.assert_allclose(hidden, np.full_like(hidden, (23.5, 31.5)))


def test_the_box_shrinks_to_what_is_left() -> None:
    """Cut at a line, and across it to the keypoints and 12 % of the longer side, 21.6."""
    seen = set()
    for person in drawn(300):
        left = person.amplitudes > 0
        cut = np.isfinite(person.visible)
        expected = np.clip(BOX, np.tile(person.visible[:2], 2), np.tile(person.visible[2:], 2))
        for axis, values in enumerate((X, Y)):
            if cut[1 - axis] or cut[3 - axis]:
                expected[axis] = max(expected[axis], values[left].min() - 21.6)
                expected[axis + 2] = min(expected[axis + 2], values[left].max() + 21.6)
        np.testing.assert_allclose(person.box, expected)
        seen |= set(np.flatnonzero(cut).tolist())
    assert seen == {LEFT, ABOVE, RIGHT, BELOW}


def test_parts_are_hidden_as_often_as_said() -> None:
    people = drawn(3000)
    cuts = np.isfinite([person.visible for person in people])
    assert len(people) > 2900  # of few is nothing left that a box could hold
    # A second cut, a fifth of all, comes from a side after a cut from below or above, and the other
    # way round.
    second = 0.2 * (HIDDEN[BELOW] + HIDDEN[ABOVE]) / 2
    assert cuts[:, ABOVE].mean() == pytest.approx(0.12, abs=0.02)
    assert cuts[:, BELOW].mean() == pytest.approx(0.48 + 0.2 * 0.4, abs=0.03)
    for side in (LEFT, RIGHT):
        assert cuts[:, side].mean() == pytest.approx(0.2 + second, abs=0.03)
    covered = [person.cover for person in people if person.cover is not None]
    assert len(covered) / len(people) == pytest.approx(0.5, abs=0.03)
    assert set(covered) == {other.image for other in OTHERS}


def test_a_person_is_not_hidden_by_its_own_image() -> None:
    rng = np.random.default_rng(0)
    people = [truncate(someone(), [someone()], rng) for _ in range(50)]
    assert all(p.cover is None for p in people if isinstance(p, TruncatedPerson))


def test_who_shows_too_little_stays_whole() -> None:
    rng = np.random.default_rng(0)
    five_sure = someone(np.where(np.arange(17) < 5, 1.0, 0.3))
    nobody = someone(0.0)  # a hard negative
    for person in (five_sure, nobody):
        assert all(truncate(person, OTHERS, rng) is person for _ in range(20))


def test_which_pixels_of_a_crop_are_seen() -> None:
    visible = np.array([-np.inf, 21.0, 40.5, np.inf])
    person = dataclasses.replace(drawn(1)[0], visible=visible)
    # Pixel (u, v) of the crop lies at (10 + 2 u, 15 + 3 v): u up to 15 and v from 2 on are seen.
    seen = person.seen(np.array([[2.0, 0, 10], [0, 3.0, 15]]), (20, 10))
    expected = np.zeros((10, 20), bool)
    expected[2:, :16] = True
    np.testing.assert_array_equal(seen, expected)
