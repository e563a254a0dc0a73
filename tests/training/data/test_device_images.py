from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from exif import exif_jpeg

from pcr_rt.errors import DataError
from pcr_rt.geometry import crop_transform, mirrored_crop
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.coco import read_people
from pcr_rt.training.data.datasets import DataSet, people_from
from pcr_rt.training.data.device_images import ImagesOnDevice
from pcr_rt.training.data.loader import Loader, View

SIZE = (48, 64)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three smooth images of different sizes: on these OpenCV's coarse grid does not matter."""
    rng = np.random.default_rng(0)
    paths = []
    for i, shape in enumerate([(90, 120, 3), (140, 70, 3), (33, 51, 3)]):
        noise = rng.integers(0, 256, shape, dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(paths[-1]), cv2.GaussianBlur(noise, (0, 0), 4))
    return paths


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_crops_equal_opencv(images: list[Path], device: str) -> None:
    # Inside, turned, over the border, enlarged and mirrored; one image twice.
    matrices = crop_transform(
        [[60, 45], [20, 100], [25, 16], [60, 45]],
        [[60, 80], [90, 120], [80, 100], [12, 16]],
        SIZE,
        "udp",
        [0.0, 0.7, -0.3, 2.0],
    )
    matrices[3] = mirrored_crop(matrices[3:], SIZE, (12, 16), "udp")[0]
    order = [images[i] for i in (0, 1, 2, 0)]
    crops = ImagesOnDevice(dict.fromkeys(images), device).crop(order, matrices, SIZE).cpu().numpy()
    assert crops.dtype == np.uint8
    for crop, path, matrix in zip(crops, order, matrices, strict=True):
        expected = cv2.warpAffine(
            cv2.imread(str(path)), matrix, SIZE, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        difference = np.abs(crop[..., ::-1].astype(int) - expected)
        # A border between image and black is steep, so the coarse grid may show there.
        assert np.percentile(difference, 95) <= 1
        assert difference.mean() < 0.5
    assert (crops[2] == 0).all(-1).mean() > 0.2


def test_images_of_more_pixels_than_float32_counts(tmp_path: Path) -> None:
    """Stripes of one pixel; rows that begin beyond 2^24 pixels."""
    frame = np.zeros((4200, 4999, 3), np.uint8)
    frame[:, 1::2] = 255
    cv2.imwrite(str(tmp_path / "large.png"), frame)
    matrix = np.array([[[1.0, 0, 4000], [0, 1.0, 4100]]])
    (crop,) = ImagesOnDevice({tmp_path / "large.png": None}, "cpu").crop(
        [tmp_path / "large.png"], matrix, (8, 6)
    )
    assert crop[..., 0].tolist() == [[0, 255] * 4] * 6


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        ImagesOnDevice({tmp_path / "broken.jpg": None}, "cpu")


def test_images_of_another_size_than_their_labels(drawn: Path, tmp_path: Path) -> None:
    labels = json.loads((drawn / "labels.json").read_text())
    labels["images"][1]["width"] += 1
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    people = read_people(tmp_path / "labels.json", drawn / "images")
    sizes = {person.image: person.image_size for person in people}
    with pytest.raises(DataError, match=r"1\.png has 120x160 pixels, .* for 121x160"):
        ImagesOnDevice(sizes, "cpu")
    images = ImagesOnDevice(sizes, "cpu", broken="skip")
    assert [path.name for path in images.unreadable] == ["1.png"]
    files = Loader(people, View((48, 64), (12, 16), "udp", Augmentation()), batch=8, seed=1)
    with pytest.raises(DataError, match=r"1\.png has 120x160 pixels, .* for 121x160"):
        list(files.batches(0, 2))


def test_labels_of_images_as_they_are_stored(tmp_path: Path) -> None:
    """An image that EXIF turns by 90 degrees, with labels from before the turn."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = 250  # top left as stored, top right when turned
    (tmp_path / "phone.jpg").write_bytes(exif_jpeg(stored, 6))
    annotation = {"id": 1, "image_id": 1, "bbox": [2, 2, 28, 20], "keypoints": [9, 9, 2] * 17}
    image = {"id": 1, "file_name": "phone.jpg", "width": 64, "height": 48}
    (tmp_path / "a.json").write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    view = View((48, 64), (12, 16), "udp", Augmentation())
    for ignored in (False, True):
        people = people_from(DataSet("a.json", ".", ignore_exif=ignored), tmp_path, "refuse")
        loader = Loader(people, view, batch=1, seed=1)
        sizes = {person.image: person.image_size for person in people}
        there = {person.image for person in people if person.ignore_exif}
        if not ignored:
            with pytest.raises(DataError, match=r"EXIF orientation.*ignore_exif = true"):
                list(loader.batches(0, 1))
            with pytest.raises(DataError, match=r"EXIF orientation.*ignore_exif = true"):
                ImagesOnDevice(sizes, "cpu", stored=there)
            continue
        memory = Loader(
            people, view, batch=1, seed=1, device_images=ImagesOnDevice(sizes, "cpu", stored=there)
        )
        for one in (loader, memory):
            (batch,) = one.batches(0, 1)
            assert batch.images[0, 32, 24].min() > 240  # the box lies in what is white as stored


def test_batches_equal_those_from_files(drawn: Path) -> None:
    people = read_people(drawn / "labels.json", drawn / "images")
    view = View((48, 64), (12, 16), "udp", Augmentation())
    files = Loader(people, view, batch=5, seed=1)
    images = ImagesOnDevice({person.image: None for person in people}, "cpu")
    memory = Loader(people, view, batch=5, seed=1, device_images=images)
    for one, other in zip(files.batches(2, 4), memory.batches(2, 4), strict=True):
        torch.testing.assert_close(one[1:], other[1:])
        assert (one.images.int() - other.images.int()).abs().float().mean() < 1
