from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pcr_rt.geometry import apply_transform, box_to_region, crop_transform, invert_transform
from pcr_rt.skeleton import Skeleton
from pcr_rt.training.data.augment import Augmentation, draw_views, photometric
from pcr_rt.training.data.coco import Person

SIZE, HEATMAP = (192, 256), (48, 64)
OFF = Augmentation(flip=0, rotation=0, scale=0, half_body=0)


@pytest.fixture
def person() -> Person:
    points = np.column_stack([np.linspace(40, 80, 17), np.linspace(20, 180, 17)])
    ones = np.ones(17)
    return Person(Path("none.jpg"), 1, np.array([30.0, 10, 90, 190]), points, ones, ones)


def draw_view(person: Person, how: Augmentation, seed: int = 0) -> tuple[np.ndarray, bool]:
    rng = np.random.default_rng(seed)
    matrices, flipped = draw_views([person], SIZE, HEATMAP, "udp", how, rng)
    return matrices[0], bool(flipped[0])


def plain_view(person: Person) -> np.ndarray:
    """The crop transform (2, 3) of the person's box without any augmentation."""
    centre, region = box_to_region(person.box, SIZE[0] / SIZE[1])
    return crop_transform(centre, region, SIZE, "udp")[0]


def scale_and_angle(matrix: np.ndarray) -> tuple[float, float]:
    """Frame pixels per input row, and the turn of the crop's vertical axis in degrees."""
    down = matrix[:, 1]
    return float(np.linalg.norm(down)), float(np.degrees(np.arctan2(-down[0], down[1])))


def test_everything_off_is_the_plain_crop(person: Person) -> None:
    matrix, flipped = draw_view(person, OFF)
    assert not flipped
    np.testing.assert_allclose(matrix, plain_view(person))
    # The box is 60x180: the crop is 180 x 1.25 high, so a row is 225 / 255 frame pixels.
    assert scale_and_angle(matrix)[0] == pytest.approx(225 / 255)


def test_draws_keep_to_their_limits_and_to_the_probability(person: Person) -> None:
    wide = Augmentation(flip=0, rotation=40, rotation_probability=0.6, scale=0.3, half_body=0)
    rng = np.random.default_rng(0)
    views, _ = draw_views([person] * 2000, SIZE, HEATMAP, "udp", wide, rng)
    scales, angles = np.array([scale_and_angle(v) for v in views]).T
    scales = scales / (225 / 255)
    assert scales.min() == pytest.approx(0.7, abs=1e-6)
    assert scales.max() == pytest.approx(1.3, abs=1e-6)
    # A normal number's variance between -1 and 1 is 0.1987, and 0.3173 of all lie at the ends.
    assert scales.std() == pytest.approx(0.3 * (0.1987 + 0.3173) ** 0.5, rel=0.05)
    assert np.abs(angles).max() == pytest.approx(80, abs=1e-6)
    assert (np.abs(angles) > 1e-9).mean() == pytest.approx(0.6, abs=0.04)


def test_shift_moves_the_centre_by_a_part_of_the_sides(person: Person) -> None:
    shifted = Augmentation(flip=0, rotation=0, scale=0, half_body=0, shift=0.1)
    rng = np.random.default_rng(0)
    views, _ = draw_views([person] * 2000, SIZE, HEATMAP, "udp", shifted, rng)
    middles = views @ [191 / 2, 255 / 2, 1]
    # The box is 60x180 around (60, 100): the crop is 180 x 1.25 = 225 high and 3/4 of that wide.
    moves = (middles - [60, 100]) / [168.75, 225]
    assert np.abs(moves).max(0) == pytest.approx([0.2, 0.2], abs=1e-6)
    assert moves.std(0) == pytest.approx([0.096, 0.096], rel=0.05)
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.1


def test_shift_leaves_the_other_draws_alone(person: Person) -> None:
    draws = {"rotation": 30, "scale": 0.3, "half_body": 0.5}
    plain, mirrored = draw_view(person, Augmentation(**draws), 5)
    moved, also = draw_view(person, Augmentation(**draws, shift=0.1), 5)
    np.testing.assert_allclose(moved[:, :2], plain[:, :2])
    assert also == mirrored
    assert not np.allclose(moved, plain)


def test_flip_mirrors_the_image(person: Person) -> None:
    always = Augmentation(flip=1, rotation=0, scale=0, half_body=0)
    matrix, flipped = draw_view(person, always)
    assert flipped
    plain = apply_transform(invert_transform(plain_view(person)), person.keypoints)
    mirrored = apply_transform(invert_transform(matrix), person.keypoints)
    np.testing.assert_allclose(mirrored[:, 0], 191 - plain[:, 0], atol=1e-9)
    np.testing.assert_allclose(mirrored[:, 1], plain[:, 1], atol=1e-9)


def test_half_body_looks_at_one_half(person: Person) -> None:
    half = Augmentation(flip=0, rotation=0, scale=0, half_body=1)
    upper, lower = 0, 0
    for seed in range(40):
        matrix, _ = draw_view(person, half, seed)
        points = apply_transform(invert_transform(matrix), person.keypoints)
        inside = ((points >= 0) & (points <= [191, 255])).all(1)
        upper += bool(inside[:11].all() and not inside[16])
        lower += bool(inside[11:].all() and not inside[0])
    assert upper + lower == 40
    assert upper == pytest.approx(40 * 0.69, abs=8)


def test_half_body_is_a_crop_around_the_mean_of_the_half(person: Person) -> None:
    points = person.keypoints.copy()
    points[8:11] = [(40, 20), (46, 20), (70, 50)]  # mean (52, 30), the middle of their box (55, 35)
    points[11:] = [(40, 100), (60, 100), (40, 110), (60, 110), (40, 180), (60, 180)]
    some = dataclasses.replace(person, keypoints=points, amplitudes=(np.arange(17) > 7) * 1.0)
    half = Augmentation(flip=0, rotation=0, scale=0, half_body=1)
    middles = {
        tuple((draw_view(some, half, seed)[0] @ [191 / 2, 255 / 2, 1]).round(6).tolist())
        for seed in range(20)
    }
    assert middles == {(52, 30), (50, 130)}  # not (50, 140)


def test_half_body_takes_the_half_that_is_labelled(person: Person) -> None:
    upper = dataclasses.replace(person, amplitudes=(np.arange(17) < 12) * 1.0)
    half = Augmentation(flip=0, rotation=0, scale=0, half_body=1)
    for seed in range(20):  # of the legs a single keypoint is labelled
        matrix, _ = draw_view(upper, half, seed)
        middle = matrix @ [191 / 2, 255 / 2, 1]
        np.testing.assert_allclose(middle, upper.keypoints[:11].mean(0))


def test_half_body_needs_enough_labels(person: Person) -> None:
    few = Person(
        person.image, 1, person.box, person.keypoints, person.amplitudes, (np.arange(17) < 8) * 1.0
    )
    half = Augmentation(flip=0, rotation=0, scale=0, half_body=1)
    matrix, _ = draw_view(few, half)
    np.testing.assert_allclose(matrix, plain_view(few))


def test_photometric_is_off_by_default_and_stays_in_range() -> None:
    images = torch.rand(4, 3, 32, 24) * 255
    generator = torch.Generator().manual_seed(0)
    torch.testing.assert_close(photometric(images, OFF, generator), images)
    changed = photometric(images, Augmentation(colour=0.4, erase=1.0), generator)
    assert changed.shape == images.shape
    assert (changed != images).any()
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_erase_blanks_one_rectangle_of_each_image() -> None:
    images = torch.zeros(8, 3, 64, 64) - 1
    changed = photometric(images, Augmentation(erase=1.0), torch.Generator().manual_seed(1))
    for erased in (changed != -1).all(1):
        rows, columns = erased.any(1).nonzero().ravel(), erased.any(0).nonzero().ravel()
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert erased.sum() == height * width
        assert 0.08 * 64 < height < 0.38 * 64


@pytest.mark.parametrize(("labelled", "halves"), [(1, False), (2, True), (4, True)])
def test_half_bodies_are_those_of_the_skeleton(labelled: int, halves: bool) -> None:
    """Half of the keypoints must be labelled; without halves there are no such crops."""
    points = np.array([[40.0, 20], [60, 40], [45, 150], [80, 180]])
    weights = (np.arange(4) < labelled).astype(float)
    one = Person(Path("none.jpg"), 1, np.array([30.0, 10, 90, 190]), points, np.ones(4), weights)
    how = dataclasses.replace(OFF, half_body=1)
    rng = np.random.default_rng(0)
    for upper, cut in ((("a", "b"), halves), ((), False)):
        skeleton = Skeleton("four", ("a", "b", "c", "d"), upper=upper)
        views, _ = draw_views([one], SIZE, HEATMAP, "udp", how, rng, skeleton)
        assert np.allclose(views[0], plain_view(one)) != cut
