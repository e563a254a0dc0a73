from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_frames import QUADRANTS, Frame, quadrants
from pcr_rt.errors import InputError
from pcr_rt.media import list_images, read_image, write_image


def test_pictures_are_read_as_bgr(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), quadrants())
    np.testing.assert_array_equal(read_image(path), quadrants())
    np.testing.assert_array_equal(read_image(str(path)), quadrants())


def test_other_depths_and_channels_become_bgr8(tmp_path: Path) -> None:
    deep, clear, grey = tmp_path / "deep.png", tmp_path / "clear.png", tmp_path / "grey.png"
    cv2.imwrite(str(deep), quadrants().astype(np.uint16) * 257)
    cv2.imwrite(str(clear), np.dstack([quadrants(), np.full((48, 64), 7, np.uint8)]))
    cv2.imwrite(str(grey), np.full((48, 64), 99, np.uint8))
    for path, wanted in [
        (deep, quadrants()),
        (clear, quadrants()),
        (grey, np.full((48, 64, 3), 99)),
    ]:
        image = read_image(path)
        assert image.dtype == np.uint8
        np.testing.assert_allclose(image.astype(int), wanted, atol=1)


def exif_jpeg(image: Frame, orientation: int, thumbnail: bool = False) -> bytes:
    """A JPEG with an APP1 segment that holds one EXIF tag, and maybe another JPEG."""
    data = cv2.imencode(".jpg", image)[1].tobytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    body += data if thumbnail else b""
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_exif_orientation_turns_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(exif_jpeg(quadrants(), 6))  # to be shown turned 90 degrees clockwise
    image = read_image(path)
    assert image.shape == (64, 48, 3)
    np.testing.assert_allclose(image[8, 8], QUADRANTS[1][0], atol=12)  # bottom left goes to the top


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_cut_pictures_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data)
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="cut short"):
        read_image(path)


def test_a_thumbnail_does_not_hide_that_a_picture_is_cut(tmp_path: Path) -> None:
    data = exif_jpeg(quadrants(), 1, thumbnail=True)
    path = tmp_path / "phone.jpg"
    path.write_bytes(data)
    assert read_image(path).shape == (48, 64, 3)
    path.write_bytes(data[:-2])
    with pytest.raises(InputError, match="cut short"):
        read_image(path)


def test_markers_filled_up_as_the_standard_allows(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", quadrants())[1].tobytes()
    path = tmp_path / "filled.jpg"
    path.write_bytes(data[:2] + b"\xff\xff" + data[2:])
    assert read_image(path).shape == (48, 64, 3)


def test_pictures_are_written_under_any_name(tmp_path: Path) -> None:
    other = os.fsdecode(b"no\xffutf8.png") if sys.platform == "linux" else "b.png"
    for name in ("a.png", "ä b%20.png", other):
        write_image(tmp_path / name, quadrants())
        np.testing.assert_array_equal(read_image(tmp_path / name), quadrants())
    with pytest.raises(InputError, match=r"none.*cannot be written \(No such file"):
        write_image(tmp_path / "none" / "a.png", quadrants())


def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"before")
    with pytest.raises(InputError, match=r"70000x4 cannot be written to .*: name another format"):
        write_image(path, np.zeros((4, 70_000, 3), np.uint8))
    assert path.read_bytes() == b"before"
    for name in ("a.xyz", "a"):
        with pytest.raises(InputError, match="name another format"):
            write_image(tmp_path / name, quadrants())
    assert [p.name for p in tmp_path.iterdir()] == ["a.jpg"]
    capfd.readouterr()
    write_image(tmp_path / "a.png", quadrants())
    assert capfd.readouterr() == ("", "")


def test_quality_is_that_of_opencv(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "cv.jpg"), noise, [cv2.IMWRITE_JPEG_QUALITY, 60])
    write_image(tmp_path / "own.jpg", noise, quality=60)
    assert (tmp_path / "own.jpg").read_bytes() == (tmp_path / "cv.jpg").read_bytes()


def test_what_follows_the_picture_does_not_matter(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"long{suffix}"
        path.write_bytes(cv2.imencode(suffix, quadrants())[1].tobytes() + bytes(10_000))
        assert read_image(path).shape == (48, 64, 3)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    huge = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", huge), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        bomb += struct.pack(">I", len(body)) + kind + body
        bomb += struct.pack(">I", zlib.crc32(kind + body))
    for name, data in {
        "text.jpg": b"no picture",
        "empty.png": b"",
        "mark.jpg": b"\xff\xd8",
        "bomb.png": bomb,
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(InputError, match="cannot be opened"):
            read_image(path)


def test_folders_are_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt", "d.webp"):
        (tmp_path / name).touch()
    (tmp_path / "._b.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "d.webp"]
    with pytest.raises(InputError, match="missing"):
        list_images(tmp_path / "missing")
    with pytest.raises(InputError, match="folder"):
        list_images(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        list_images(tmp_path / "empty")
