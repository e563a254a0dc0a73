from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from exif import exif_jpeg

from pcr_rt.coco.record_images import image_path, read_labelled
from pcr_rt.errors import DataError, InputError


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg",
        "deeper/a.jpg",
        "images\\a.jpg",
        "C:\\data\\images\\a.jpg",
        "../upload/1/0f3b9c7e-a.jpg",
        "images\\0f3b9c7e-a.jpg",
        "/data/local-files/?d=set/a.jpg",
    ],
)
def test_images_are_found_under_the_names_that_tools_write(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.jpg").touch()
    assert image_path(tmp_path, {"file_name": name}) == tmp_path / "a.jpg"


def test_the_name_as_it_stands_comes_first(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("a.jpg", "deeper/a.jpg", "0f3b9c7e-a.jpg"):
        (tmp_path / name).touch()
        assert image_path(tmp_path, {"file_name": name}) == tmp_path / name
    assert image_path(tmp_path, {"file_name": "deeper\\a.jpg"}) == tmp_path / "deeper" / "a.jpg"
    for name in ("none.jpg", "a\0.jpg", "x" * 5000):
        assert image_path(tmp_path, {"file_name": name}) == tmp_path / name
    with pytest.raises(DataError, match="no 'file_name'"):
        image_path(tmp_path, {"id": 1})


def test_exif_is_named_where_it_is_why_sizes_differ(tmp_path: Path) -> None:
    black = np.zeros((48, 64, 3), np.uint8)
    path = tmp_path / "phone.jpg"
    path.write_bytes(exif_jpeg(black, 6))
    assert read_labelled(path, (48, 64)).shape == (64, 48, 3)
    assert read_labelled(path, (64, 48), ignore_exif=True).shape == (48, 64, 3)
    with pytest.raises(InputError, match=r"has 48x64 pixels.*EXIF orientation.*--ignore-exif"):
        read_labelled(path, (64, 48))
    with pytest.raises(InputError, match=r"has 64x48 pixels.*leave out --ignore-exif"):
        read_labelled(path, (48, 64), ignore_exif=True)
    cv2.imwrite(str(tmp_path / "plain.jpg"), black)
    with pytest.raises(InputError, match="48x64: give the images that were labelled"):
        read_labelled(tmp_path / "plain.jpg", (48, 64))
