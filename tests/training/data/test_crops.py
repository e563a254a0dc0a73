"""What hides a part of a person, in crops from files and from the device's memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.coco import read_people
from pcr_rt.training.data.crops import crop_on_device, read_crop
from pcr_rt.training.data.device_images import ImagesOnDevice
from pcr_rt.training.data.loader import Loader, View
from pcr_rt.training.data.truncation import TruncatedPerson

SIZE = (60, 80)
MATRIX = np.array([[1.0, 0, 20], [0, 1.0, 10]])

Crop = Callable[[TruncatedPerson], NDArray[np.uint8]]


def from_files(person: TruncatedPerson) -> NDArray[np.uint8]:
    return read_crop(person, MATRIX, SIZE)


def from_memory(person: TruncatedPerson) -> NDArray[np.uint8]:
    paths = [person.image, *([person.cover] if person.cover else [])]
    images = ImagesOnDevice(dict.fromkeys(paths), "cpu", broken="skip")
    return crop_on_device(images, [person], MATRIX[None], SIZE)[0].numpy()


@pytest.fixture(params=[from_files, from_memory])
def crop(request: pytest.FixtureRequest) -> Crop:
    function: Crop = request.param
    return function


def person(folder: Path, cover: Path | None) -> TruncatedPerson:
    """In a white image of 100x120; only what lies above y = 50 is visible."""
    cv2.imwrite(str(folder / "white.png"), np.full((120, 100, 3), 255, np.uint8))
    visible = np.array([-np.inf, -np.inf, np.inf, 49.5])
    each = np.ones(17)
    box, points = np.array([20.0, 10, 80, 90]), np.zeros((17, 2))
    return TruncatedPerson(folder / "white.png", 1, box, points, each, each, visible, cover)


def test_beyond_the_border_all_is_black(tmp_path: Path, crop: Crop) -> None:
    found = crop(person(tmp_path, None))
    assert found.shape == (80, 60, 3)
    assert (found[:40] == 255).all()  # rows 10 to 49 of the image
    assert (found[40:] == 0).all()


def test_a_cover_shows_what_lies_at_the_same_place_in_it(tmp_path: Path, crop: Crop) -> None:
    """It is twice as wide and half as high; its red is x, its green 3 y."""
    y, x = np.mgrid[:60, :200]
    cover = np.stack([np.zeros_like(x), 3 * y, x], axis=-1).astype(np.uint8)  # BGR
    cv2.imwrite(str(tmp_path / "cover.png"), cover)
    found = crop(person(tmp_path, tmp_path / "cover.png"))
    assert (found[:40] == 255).all()
    v, u = np.mgrid[40:80, :60]
    np.testing.assert_allclose(found[40:, :, 0], 2 * (u + 20), atol=1)
    np.testing.assert_allclose(found[40:, :, 1], 3 * (v + 10) / 2, atol=1.5)
    assert (found[40:, :, 2] == 0).all()


def test_a_broken_cover_is_black(tmp_path: Path, crop: Crop) -> None:
    (tmp_path / "cover.png").write_bytes(b"no image")
    found = crop(person(tmp_path, tmp_path / "cover.png"))
    assert (found[:40] == 255).all()
    assert (found[40:] == 0).all()


def test_batches_hold_truncated_people_as_often_as_asked(drawn: Path) -> None:
    people = read_people(drawn / "labels.json", drawn / "images")
    sure = [p for p in people if (p.amplitudes * p.weights > 0.3).sum() >= 10]

    def batches(probability: float, **options: object) -> list[object]:
        view = View((48, 64), (12, 16), "udp", Augmentation(truncation=probability))
        loader = Loader(sure, view, batch=50, seed=1, **options)  # type: ignore[arg-type]
        return list(loader.batches(2, 4))

    never, some, again = batches(0), batches(0.3), batches(0.3)
    hidden = [((b.amplitudes == 0) & (b.weights > 0)).any(1).float() for b in some]
    assert 0.15 < torch.cat(hidden).mean() < 0.45
    assert not any(((b.amplitudes == 0) & (b.weights > 0)).any() for b in never)
    for one, other in zip(some, again, strict=True):
        torch.testing.assert_close(one, other)
    images = ImagesOnDevice({p.image: p.image_size for p in sure}, "cpu")
    for one, other in zip(some, batches(0.3, device_images=images), strict=True):
        torch.testing.assert_close(one[1:], other[1:])
        assert (one.images.int() - other.images.int()).abs().float().mean() < 1
