"""Crops and keypoints of the loader against a warp written out by hand; order, seeds, resume."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from label_files import coco, read
from pcr_rt.errors import DataError
from pcr_rt.skeleton import KEYPOINTS, Skeleton
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.coco import Person
from pcr_rt.training.data.loader import Batch, Loader, View
from pcr_rt.training.data.targets import to_heatmap

OFF = Augmentation(flip=0, rotation=0, scale=0, half_body=0)
WILD = Augmentation(flip=0.5, rotation=40, scale=0.2, half_body=0, rotation_probability=1)
VIEW = View((96, 128), (24, 32), "udp", OFF)
LEFT, RIGHT = KEYPOINTS.index("left_wrist"), KEYPOINTS.index("right_wrist")
WRISTS = np.array([[70.25, 90.5], [110.75, 130.0]])


def person(path: Path, image_id: int = 1) -> Person:
    """All keypoints on the left wrist's place but the right wrist; amplitudes tell them apart."""
    keypoints = np.tile(WRISTS[0], (17, 1))
    keypoints[RIGHT] = WRISTS[1]
    amplitudes = np.arange(1, 18) / 17
    box = np.array([60.0, 60, 120, 160])
    return Person(path, image_id, box, keypoints, amplitudes, np.ones(17))


@pytest.fixture
def wrists(tmp_path: Path) -> Person:
    """An image with a red blob on the left wrist and a blue one on the right."""
    x, y = np.arange(180)[None, :], np.arange(220)[:, None]
    frame = np.zeros((220, 180, 3))
    for channel, (cx, cy) in ((2, WRISTS[0]), (0, WRISTS[1])):
        frame[..., channel] = 250 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 4**2))
    path = tmp_path / "wrists.png"
    assert cv2.imwrite(str(path), frame.round().astype(np.uint8))
    return person(path)


def load(people: list[Person], view: View, steps: int = 1, batch: int = 1, seed: int = 0) -> Batch:
    loader = Loader(people, view, batch=batch, seed=seed)
    parts = list(loader.batches(0, steps))
    return Batch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def middle(channel: np.ndarray) -> np.ndarray:
    """The centre of mass (x, y) of what is bright."""
    weight = np.where(channel > 25, channel.astype(float), 0)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("transform", ["udp", "msra"])
def test_crop_is_the_box_sampled_by_hand(tmp_path: Path, transform: str) -> None:
    """Bilinear sampling at x = cx + (u / (W - 1) - 1/2) bw, or u / W under msra; RGB; black
    outside."""
    x, y = np.arange(180.0)[None, :], np.arange(220.0)[:, None]
    waves = [120 + 100 * np.sin(x / 17 + y / (23 + c) + c) for c in range(3)]
    frame = np.stack(waves, axis=-1).round().astype(np.uint8)
    path = tmp_path / "waves.png"
    cv2.imwrite(str(path), frame)
    someone = replace(person(path), box=np.array([100.0, 60, 160, 200]))
    batch = load([someone], replace(VIEW, transform=transform))
    assert batch.images.shape == (1, 128, 96, 3)
    assert batch.images.dtype == torch.uint8

    # The box is 60x140: the crop is 140 x 1.25 = 175 high, and 175 x 96 / 128 wide.
    height, width = 175.0, 131.25
    last = (95, 127) if transform == "udp" else (96, 128)
    sx = 130 + (np.arange(96) / last[0] - 0.5) * width
    sy = 130 + (np.arange(128) / last[1] - 0.5) * height
    padded = np.pad(frame.astype(float), ((60, 60), (60, 60), (0, 0)))
    x0, y0 = np.floor(sx).astype(int), np.floor(sy).astype(int)
    fx, fy = (sx - x0)[None, :, None], (sy - y0)[:, None, None]

    def at(dy: int, dx: int) -> np.ndarray:
        return padded[(y0 + dy + 60)[:, None], (x0 + dx + 60)[None, :]]

    upper = at(0, 0) * (1 - fx) + at(0, 1) * fx
    lower = at(1, 0) * (1 - fx) + at(1, 1) * fx
    expected = (upper * (1 - fy) + lower * fy)[..., ::-1]
    # OpenCV rounds positions to 1/32 pixel and results to integers; at the image's edge, where
    # it drops to black, that is up to 7 grey levels.
    difference = np.abs(batch.images[0].numpy() - expected)
    assert difference.max() < 8
    assert difference.mean() < 0.5
    found = batch.points[0, LEFT].numpy()
    by_hand = [
        ((WRISTS[0, 0] - 130) / width + 0.5) * last[0],
        ((WRISTS[0, 1] - 130) / height + 0.5) * last[1],
    ]
    np.testing.assert_allclose(found, by_hand, atol=1e-3)


@pytest.mark.parametrize("transform", ["udp", "msra"])
def test_keypoints_stay_on_what_they_mark(wrists: Person, transform: str) -> None:
    """Whatever the view: the left wrist's blob lies on the left wrist, after a flip on the right
    one, since a mirrored left hand looks like a right hand."""
    batch = load([wrists], View((96, 128), (24, 32), transform, WILD), steps=40)
    flips = checked = 0
    for image, points, amplitudes in zip(
        batch.images.numpy(), batch.points.numpy(), batch.amplitudes.numpy(), strict=True
    ):
        flipped = bool(amplitudes[LEFT] > amplitudes[RIGHT])
        flips += flipped
        red, blue = (RIGHT, LEFT) if flipped else (LEFT, RIGHT)
        for channel, joint in ((0, red), (2, blue)):
            if ((points[joint] > 14) & (points[joint] < [95 - 14, 127 - 14])).all():
                np.testing.assert_allclose(middle(image[..., channel]), points[joint], atol=0.1)
                checked += 1
    assert 8 < flips < 32
    assert checked > 50


def test_flip_swaps_amplitudes_and_weights(wrists: Person) -> None:
    weights = np.ones(17)
    weights[LEFT] = 0
    someone = replace(wrists, weights=weights)
    plain = load([someone], VIEW)
    mirrored = load([someone], replace(VIEW, augmentation=replace(OFF, flip=1)))
    swapped = [
        KEYPOINTS.index(name.replace("left", "x").replace("right", "left").replace("x", "right"))
        for name in KEYPOINTS
    ]
    assert plain.weights[0, LEFT] == mirrored.weights[0, RIGHT] == 0
    torch.testing.assert_close(mirrored.weights[0], plain.weights[0, swapped])
    torch.testing.assert_close(mirrored.amplitudes[0], plain.amplitudes[0, swapped])
    torch.testing.assert_close(mirrored.images.flip(2), plain.images, atol=1, rtol=0)
    torch.testing.assert_close(
        95 - mirrored.points[0, :, 0], plain.points[0, swapped, 0], atol=1e-3, rtol=0
    )


@pytest.fixture
def seven(tmp_path: Path) -> list[Person]:
    """Seven people, each in an image of its own grey level, 30 times its number."""
    people = []
    for number in range(7):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((220, 180, 3), 30 * number, np.uint8))
        people.append(person(path, number))
    return people


def who(batch: Batch) -> list[int]:
    return (batch.images[:, 64, 48, 0] // 30).tolist()


def test_every_pass_sees_everybody_in_a_new_order(seven: list[Person]) -> None:
    seen = who(load(seven, VIEW, steps=9, batch=7))
    passes = [seen[i : i + 7] for i in range(0, 63, 7)]
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len({tuple(order) for order in passes}) > 7
    # Batches that do not divide the pass go on into the next one.
    assert who(load(seven, VIEW, steps=21, batch=3)) == seen


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_seed_alone_decides(seven: list[Person]) -> None:
    view = replace(VIEW, augmentation=WILD)
    first = load(seven, view, steps=5, batch=3, seed=4)
    assert same(first, load(seven, view, steps=5, batch=3, seed=4))
    assert not same(first, load(seven, view, steps=5, batch=3, seed=5))


@pytest.mark.parametrize("threads", [1, 4])
def test_a_resumed_run_sees_what_a_whole_one_would(seven: list[Person], threads: int) -> None:
    view = replace(VIEW, augmentation=WILD)
    whole = list(Loader(seven, view, batch=3, seed=4).batches(0, 12))
    assert len(whole) == 12
    loader = Loader(seven, view, batch=3, seed=4, threads=threads)
    rest = list(loader.batches(5, 12))
    assert len(rest) == 7
    assert all(same(a, b) for a, b in zip(whole[5:], rest, strict=True))
    assert list(loader.batches(5, 5)) == []


def test_what_cannot_be_loaded_is_told(seven: list[Person]) -> None:
    with pytest.raises(DataError, match="nobody"):
        Loader([], VIEW, batch=1, seed=0)
    seven[0].image.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png"):
        load(seven, VIEW, batch=7)


def test_points_in_samples_of_a_map_by_hand() -> None:
    points = torch.tensor([[[95.0, 127.0], [48.0, 64.0]]])
    udp = to_heatmap(points, (96, 128), (24, 32), "udp")
    torch.testing.assert_close(udp[0], torch.tensor([[23, 31], [48 * 23 / 95, 64 * 31 / 127]]))
    msra = to_heatmap(points, (96, 128), (24, 32), "msra")
    torch.testing.assert_close(msra[0], torch.tensor([[23.75, 31.75], [12.0, 16.0]]))


def test_unreadable_images_are_refused_or_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, grey in (("1", 50), ("2", 200)):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full((40, 30, 3), grey, np.uint8))
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])
    good = {"id": 5, "image_id": 1, "bbox": [0, 0, 30, 40], "keypoints": [4, 5, 1] * 17}
    people = read(tmp_path, coco(good, {**good, "image_id": 2}, images=2))
    still = Augmentation(flip=0, rotation=0, scale=0, half_body=0)
    view = View((24, 32), (6, 8), "udp", still)
    with pytest.raises(DataError, match="Image 1 is broken"):
        next(Loader(people, view, batch=4, seed=0).batches(0, 1))
    with caplog.at_level(logging.WARNING):
        batch = next(Loader(people, view, batch=4, seed=0, broken="skip").batches(0, 1))
    # Every crop shows the other image; its centre is of that image's grey.
    assert (batch.images[:, 16, 12].float() - 200).abs().max() < 3
    assert caplog.text.count("Image 1 is broken") == 1
    with pytest.raises(DataError, match="None of the images"):
        next(Loader(people[:1], view, batch=2, seed=0, broken="skip").batches(0, 1))


def test_mirrored_views_swap_the_pairs_of_the_skeleton(wrists: Person) -> None:
    """Two keypoints that are each other's mirror image, and two that are not."""
    both = replace(
        wrists,
        keypoints=WRISTS.copy(),
        amplitudes=np.array([0.25, 0.5]),
        weights=np.ones(2),
    )
    always = replace(OFF, flip=1)
    for pairs, order in (((("a", "b"),), [0.5, 0.25]), ((), [0.25, 0.5])):
        skeleton = Skeleton("two", ("a", "b"), pairs=pairs)
        batch = load([both], replace(VIEW, augmentation=always, skeleton=skeleton))
        assert batch.amplitudes[0].tolist() == order
