from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from drawn_frames import quadrants
from pcr_rt.errors import InputError
from pcr_rt.inference.boxes import as_boxes
from pcr_rt.inference.inputs import as_frames

PIL = pytest.importorskip("PIL.Image")


def test_paths_and_pil_images_are_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), quadrants())
    rgb = PIL.fromarray(quadrants()[..., ::-1])
    array = quadrants()
    frames = as_frames([path, str(path), rgb, array])
    for frame in frames:
        np.testing.assert_array_equal(frame, quadrants())
        assert frame.flags.c_contiguous
    assert frames[3] is array
    with pytest.raises(InputError, match=r"none\.png cannot be opened"):
        as_frames([tmp_path / "none.png"])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_modes_of_pil_become_colours(mode: str) -> None:
    image = PIL.fromarray(quadrants()[..., ::-1]).convert(mode)
    expected = np.asarray(image.convert("RGB"))[..., ::-1]
    np.testing.assert_array_equal(as_frames([image])[0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pil_images_are_turned_as_pil_itself_does(tmp_path: Path, orientation: int) -> None:
    ops = pytest.importorskip("PIL.ImageOps")
    image = PIL.fromarray(quadrants()[..., ::-1])
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    opened = PIL.open(tmp_path / "a.png")
    expected = np.asarray(ops.exif_transpose(opened))[..., ::-1]
    np.testing.assert_array_equal(as_frames([opened])[0], expected)


def test_a_pil_image_whose_file_is_cut_is_one_sentence(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="PIL image cannot be read"):
        as_frames([PIL.open(tmp_path / "cut.png")])


def test_boxes_of_supervision() -> None:
    sv = pytest.importorskip("supervision")
    xyxy = np.array([[10.0, 10, 50, 90], [20, 20, 40, 40], [5, 5, 15, 35]])
    plain = sv.Detections(xyxy=xyxy)
    boxes, scores = as_boxes(plain, (100, 100))
    np.testing.assert_array_equal(boxes, xyxy)
    np.testing.assert_array_equal(scores, 1)
    named = sv.Detections(
        xyxy=xyxy,
        confidence=np.array([0.9, 0.8, 0.7]),
        class_id=np.array([0, 16, 0]),
        data={"class_name": np.array(["person", "dog", "person"])},
    )
    boxes, scores = as_boxes(named, (100, 100))
    np.testing.assert_array_equal(boxes, xyxy[[0, 2]])
    np.testing.assert_array_equal(scores, [0.9, 0.7])
    assert as_boxes(sv.Detections.empty(), (100, 100))[0].shape == (0, 4)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[0, 0, 9, 9, 2.0]], "scores from 2 to 2: give 0 to 1"),
        ([[0, 0, 9, 9, -0.5]], "give 0 to 1"),
        ([[0, 0, 9, 9, 1e39]], "give 0 to 1"),
        ([[0, 0, 3.4e38, 9]], "further than any image"),
        ([[0, 0, 10**400, 9]], "must be numbers"),
    ],
)
def test_boxes_that_would_give_infinite_keypoints(boxes: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_boxes(boxes, (100, 100))
    assert as_boxes([[0, 0, 9, 9, 1.00001]], (100, 100))[1].tolist() == [1.0]
