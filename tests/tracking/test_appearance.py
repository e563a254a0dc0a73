"""Patches of known colours under drawn joints; expected values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.skeleton import KEYPOINTS, Skeleton
from pcr_rt.tracking.appearance import FLOOR, LEARN, SPREAD, describe, difference, light, updated

HALF = [(0.03, -0.44), (0.06, -0.43), (0.11, -0.32), (0.14, -0.16), (0.15, 0.0), (0.08, 0.04)]
HALF += [(0.08, 0.25), (0.08, 0.46)]
FIGURE = np.array([(0, -0.42)] + [(s * x, y) for x, y in HALF for s in (1, -1)])
PEOPLE = FIGURE[None] * 200 + (160, 120)
SURE = np.full((1, 17), 0.9)
GREY = 100


def dressed(head: tuple[int, ...], torso: tuple[int, ...], legs: tuple[int, ...]) -> NDArray:
    """A grey frame with a person of three colours (BGR) around (160, 120), 200 pixels high."""
    frame = np.full((2400, 3200, 3), GREY, np.uint8)  # so large that its mean stays grey
    frame[20:50, 130:190] = head
    frame[50:127, 130:190] = torso
    frame[127:230, 130:190] = legs
    return frame


def test_patches_by_hand() -> None:
    colours = np.array([(60, 80, 120), (200, 40, 20), (30, 30, 90)], float)
    frame = dressed(*[tuple(int(v) for v in c) for c in colours])
    colours = colours[[0, 1, 1, 2, 2]]
    found = describe(frame, PEOPLE, SURE, 0.5, KEYPOINTS)
    assert found.shape == (1, 5, 3)
    blue, green, red = np.log((colours + FLOOR) / (GREY + FLOOR)).T
    expected = np.stack([(blue + green + red) / 3, red - green, blue - green], 1)
    np.testing.assert_allclose(found[0], expected, atol=0.02)


def block() -> NDArray[np.float64]:
    """Torso, thighs and shins, each 100 pixels high from y = 100 on, from x = 100 to 200."""
    keypoints = np.full((1, 17, 2), 150.0)
    for y, part in enumerate(("shoulder", "hip", "knee", "ankle"), 1):
        keypoints[0, KEYPOINTS.index(f"left_{part}")] = (200, 100 * y)
        keypoints[0, KEYPOINTS.index(f"right_{part}")] = (100, 100 * y)
    return keypoints


@pytest.mark.parametrize(
    ("patch", "axis", "starts", "length"),
    [
        (1, 0, (112, 132), 10),  # the chest, below the shoulders: 15 and 35 % of the torso
        (1, 1, (110, 133, 157, 180), 10),  # and from side to side
        (2, 0, (155, 175), 10),  # the waist, above the hips
        (2, 1, (110, 133, 157, 180), 10),
        (3, 0, (215, 245, 275), 10),  # the thighs, without the seat and the knees
        (4, 0, (315, 345, 375), 10),  # the shins
    ],
)
def test_each_part_of_a_patch_counts_the_same(
    patch: int, axis: int, starts: tuple[int, ...], length: int
) -> None:
    dark = np.log((10 + FLOOR) / (GREY + FLOOR))
    for start in starts:
        frame = np.full((2400, 3200, 3), GREY, np.uint8)
        np.moveaxis(frame, axis, 0)[start : start + length, :410] = 10
        looks = describe(frame, block(), SURE, 0.5, KEYPOINTS)
        np.testing.assert_allclose(looks[0, patch, 0], dark / len(starts), atol=0.01)


@pytest.mark.parametrize(("axis", "place"), [(0, 0), (0, 119), (1, 0), (1, 159)])
def test_the_outermost_pixels_of_a_frame_count(axis: int, place: int) -> None:
    """All keypoints lie in the first or last row or column, which is black in a grey frame."""
    frame = np.full((120, 160, 3), GREY, np.uint8)
    np.moveaxis(frame, axis, 0)[place] = 0
    keypoints = block() / 4
    keypoints[..., 1 - axis] = place
    looks = describe(frame, keypoints, SURE, 0.5, KEYPOINTS)
    np.testing.assert_allclose(looks[0, :, 0], np.log(FLOOR / (GREY + FLOOR)), atol=0.05)


def test_the_light_is_the_mean_colour_of_the_frame() -> None:
    """Blue grows from left to right from 0 to 239, green from top to bottom; red is 7."""
    frame = np.full((240, 240, 3), 7, np.uint8)
    frame[..., 0] = np.arange(240)
    frame[..., 1] = np.arange(240)[:, None]
    np.testing.assert_allclose(light(frame), [119.5, 119.5, 7], atol=0.6)  # samples, a pixel's half


def test_exposure_and_white_balance_change_little() -> None:
    frame = dressed((60, 80, 120), (200, 40, 20), (60, 60, 90))
    gain = np.array([1.2, 0.9, 0.8])
    other = np.rint(frame * gain).astype(np.uint8)
    apart = difference(*(describe(f, PEOPLE, SURE, 0.5, KEYPOINTS) for f in (frame, other)))
    assert apart[0, 0] < 0.6
    red = dressed((60, 80, 120), (20, 40, 200), (60, 60, 90))
    looks = describe(frame, PEOPLE, SURE, 0.5, KEYPOINTS)
    assert difference(looks, describe(red, PEOPLE, SURE, 0.5, KEYPOINTS)) > 3


def test_patches_out_of_view_and_unsure_ones_are_nan() -> None:
    frame = np.full((160, 320, 3), 90, np.uint8)  # ends above the knees, at y = 170
    found = describe(frame, PEOPLE, SURE, 0.5, KEYPOINTS)
    np.testing.assert_array_equal(np.isnan(found).all(-1), [[False] * 3 + [True] * 2])
    scores = SURE.copy()
    scores[0, :5] = 0.1
    np.testing.assert_array_equal(
        np.isnan(describe(frame, PEOPLE, scores, 0.5, KEYPOINTS)).all(-1),
        [[True, False, False, True, True]],
    )
    at_the_limit = describe(frame, PEOPLE, np.full((1, 17), 0.5), 0.5, KEYPOINTS)
    np.testing.assert_array_equal(np.isnan(at_the_limit).all(-1), [[False] * 3 + [True] * 2])


@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (700, 2), (480, 640)])
def test_frames_of_any_size_and_people_anywhere(shape: tuple[int, int]) -> None:
    frame = np.full((*shape, 3), 7, np.uint8)
    far = np.concatenate([PEOPLE, PEOPLE - 1e6, PEOPLE + 1e6])
    assert describe(frame, far, np.ones((3, 17)), 0.5, KEYPOINTS).shape == (3, 5, 3)
    assert np.isnan(describe(frame, far, np.ones((3, 17)), 0.5, KEYPOINTS)[1:]).all()
    assert describe(frame, far[:0], np.ones((0, 17)), 0.5, KEYPOINTS).shape == (0, 5, 3)


def test_difference_by_hand() -> None:
    known = np.zeros((1, 5, 3))
    found = np.zeros((4, 5, 3))
    found[0, 1] = 2 * SPREAD[1]  # one patch of five is two deviations away
    found[1, 0] = np.nan
    found[1, 1:] = 3 * SPREAD[1:]  # all patches that are seen are three away
    found[2] = np.nan
    found[3, 2] = 3 * SPREAD[2]
    found[3, [0, 1, 3, 4]] = np.nan  # the only patch that is seen is three away
    with np.errstate(all="raise"):
        apart = difference(known, found)
    np.testing.assert_allclose(apart, [[np.sqrt(4 / 5), 3, np.nan, 3]])


def test_looks_are_learnt_slowly_and_unseen_patches_stay() -> None:
    known, found = np.zeros((3, 3)), np.ones((3, 3))
    known[0], found[1] = np.nan, np.nan
    expected = np.array([[1.0] * 3, [0.0] * 3, [LEARN] * 3])
    np.testing.assert_allclose(updated(known, found), expected)
    assert 0 < LEARN < 0.2


def test_patches_whose_keypoints_a_skeleton_lacks_are_nan() -> None:
    names = [f"{side}_{part}" for part in ("hip", "knee") for side in ("left", "right")]
    rows = [KEYPOINTS.index(name) for name in names]
    frame = dressed((60, 80, 120), (20, 40, 200), (60, 60, 90))
    whole = describe(frame, PEOPLE, SURE, 0.5, KEYPOINTS)
    legs = describe(frame, PEOPLE[:, rows], SURE[:, rows], 0.5, names)
    np.testing.assert_array_equal(np.isnan(legs).all(-1), [[True, True, True, False, True]])
    shown = describe(frame, PEOPLE, np.ones_like(SURE), 0.5, KEYPOINTS)
    everything = describe(frame, PEOPLE[:, rows], np.ones((1, 4)), 0.5, names)
    np.testing.assert_allclose(everything[:, 3], shown[:, 3])
    assert whole.shape == legs.shape
    hand = Skeleton.load("hand21").keypoints
    nothing = describe(frame, np.full((2, 21, 2), 150.0), np.ones((2, 21)), 0.5, hand)
    np.testing.assert_array_equal(nothing, np.full((2, 5, 3), np.nan))


def test_points_on_somebody_else_are_left_out_by_hand() -> None:
    """The first person's points have x = 145 to 175 on the chest, 147 to 173 and 148 to 172 on the
    waist (y = 99 and 114), 144 and 176 on the legs, and 154 to 166 on the head. So a body reaches
    from 144 to 176, and another 28 pixels further from 172 to 204, over the right columns of the
    torso and one leg.
    """
    frame = np.full((2400, 3200, 3), GREY, np.uint8)
    frame[:300, 170:200] = 10
    dark = np.log((10 + FLOOR) / (GREY + FLOOR))

    def check(shift: tuple[float, float], chest: float, waist: float, legs: float) -> None:
        both = np.concatenate([PEOPLE, PEOPLE + shift])
        found = describe(frame, both, SURE.repeat(2, 0), 0.5, KEYPOINTS)[0, :, 0]
        np.testing.assert_allclose(found, [0, chest, waist, legs, legs], atol=0.002)

    for far in ((400, 0), (-400, 0), (0, 400), (33, 0), (-33, 0)):
        check(far, dark / 4, dark / 4, dark / 2)
    # The outermost points, on the legs, lie on the other's outermost.
    check((32, 0), dark / 4, dark / 4, np.nan)
    check((-32, 0), dark / 4, dark / 4, np.nan)
    check((28, 0), 0, 0, np.nan)
    check((29, 0), 0, dark / 7, np.nan)
    # The other's head is at y = 33: the waist's lower row, half of it, is free or not.
    check((0, 82), dark / 4, dark / 4, np.nan)
    check((0, 81), dark / 4, np.nan, np.nan)
    both = np.concatenate([PEOPLE, PEOPLE])
    with np.errstate(all="raise"):
        hidden = describe(frame, both, SURE.repeat(2, 0), 0.5, KEYPOINTS)
    assert np.isnan(hidden).all()


def test_constants_by_hand() -> None:
    """The deviations, the share that is learnt and the floor are those of the documentation."""
    spread = np.array([[0.6, 0.18, 0.15], *[[0.25, 0.1, 0.1]] * 4])
    for patch in range(5):
        for colour in range(3):
            found = np.zeros((1, 5, 3))
            found[0, patch, colour] = 15**0.5 * spread[patch, colour]
            np.testing.assert_allclose(difference(np.zeros((1, 5, 3)), found), 1)  # of 15 numbers
    np.testing.assert_allclose(updated(np.full((3, 3), 2.0), np.full((3, 3), 4.0)), 2.1)
    looks = describe(dressed((0,) * 3, (0,) * 3, (0,) * 3), PEOPLE, SURE, 0.5, KEYPOINTS)
    np.testing.assert_allclose(looks[0, :, 0], np.log(12 / 112), atol=0.02)


@pytest.mark.parametrize(
    ("size", "shift", "seen"),
    [
        # From x = 144 to 176 on the legs, from y = 33, the head, to 162, the thighs, and 204.
        ((240, 177), (0, 0), [True] * 5),
        ((240, 176), (0, 0), [True] * 3 + [False] * 2),
        ((240, 320), (-144, 0), [True] * 5),
        ((240, 320), (-145, 0), [True] * 3 + [False] * 2),
        ((205, 320), (0, 0), [True] * 5),
        ((204, 320), (0, 0), [True] * 4 + [False]),
        ((163, 320), (0, 0), [True] * 4 + [False]),
        ((162, 320), (0, 0), [True] * 3 + [False] * 2),
        ((240, 320), (0, -33), [True] * 5),
        ((240, 320), (0, -34), [False] + [True] * 4),
    ],
)
def test_a_patch_needs_all_its_points_in_the_frame(
    size: tuple[int, int], shift: tuple[int, int], seen: list[bool]
) -> None:
    frame = np.full((*size, 3), 90, np.uint8)
    found = describe(frame, PEOPLE + shift, SURE, 0.5, KEYPOINTS)
    np.testing.assert_array_equal(np.isfinite(found[0]).all(-1), seen)
