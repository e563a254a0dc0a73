from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from exif import exif_jpeg

from drawn_frames import QUADRANTS, middles, quadrants
from pcr_rt.errors import InputError
from pcr_rt.media import images, is_image, is_video, list_images, read_image, write_image
from pcr_rt.media.images import IMAGE_SUFFIXES


def test_images_are_read_as_bgr(tmp_path: Path) -> None:
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


def test_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(exif_jpeg(quadrants(), 6))  # to be shown turned 90 degrees clockwise
    assert read_image(path, ignore_exif=True).shape == (48, 64, 3)
    image = read_image(path)
    assert image.shape == (64, 48, 3)
    np.testing.assert_allclose(image[8, 8], QUADRANTS[1][0], atol=12)  # bottom left goes to the top


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_cut_images_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data)
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="cut short"):
        read_image(path)


def test_a_thumbnail_does_not_hide_that_an_image_is_cut(tmp_path: Path) -> None:
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


def test_images_are_written_under_any_name(tmp_path: Path) -> None:
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


def test_what_follows_the_image_does_not_matter(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"long{suffix}"
        path.write_bytes(cv2.imencode(suffix, quadrants())[1].tobytes() + bytes(10_000))
        assert read_image(path).shape == (48, 64, 3)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    huge = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", huge), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        bomb += struct.pack(">I", len(body)) + kind + body
        bomb += struct.pack(">I", zlib.crc32(kind + body))
    for name, data in {
        "text.jpg": b"no image",
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


def test_folders_are_listed_as_people_number_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"frame{number}.png" for number in (1, 2, 9, 10, 11, 100)]
    for name in (*names, "b.JPG", "a.png", "d.webp", "01.png", "1.png"):
        (tmp_path / name).touch()
    (tmp_path / "._b.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    with caplog.at_level("WARNING"):
        found = [path.name for path in list_images(tmp_path)]
    assert found == ["01.png", "1.png", "a.png", "b.JPG", "d.webp", *names]
    assert not caplog.records
    for name in ("c.txt", "e.txt", "film.mp4", "README"):
        (tmp_path / name).touch()
    assert len(list_images(tmp_path)) == 11
    (record,) = caplog.records
    assert record.getMessage().endswith(": 11 images; left out: 1 .mp4, 2 .txt, 1 no suffix")
    with pytest.raises(InputError, match="missing"):
        list_images(tmp_path / "missing")
    with pytest.raises(InputError, match="folder"):
        list_images(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        list_images(tmp_path / "empty")


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".jfif", ".jpg"),
        (".jpe", ".jpg"),
        (".mpo", ".jpg"),
        (".avif", ".avif"),
        (".jp2", ".jp2"),
        (".ppm", ".ppm"),
        (".gif", ".gif"),
        (".dib", ".bmp"),
        (".TIF", ".tif"),
    ],
)
def test_every_listed_suffix_is_read(tmp_path: Path, suffix: str, form: str) -> None:
    assert suffix.lower() in IMAGE_SUFFIXES
    path = tmp_path / f"image{suffix}"
    path.write_bytes(cv2.imencode(form, quadrants())[1].tobytes())
    assert is_image(path)
    assert list_images(tmp_path) == [path]
    np.testing.assert_allclose(np.array(middles(read_image(path))).astype(int), QUADRANTS, atol=60)


def test_an_animated_gif_is_a_video_and_one_of_a_single_frame_an_image(tmp_path: Path) -> None:
    for count in (1, 3):
        path = tmp_path / f"{count}.gif"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("gif", 10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
            for k in range(count):
                frame = np.full((48, 64, 3), 80 * k, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            container.mux(stream.encode(None))
        assert (is_video(path), is_image(path)) == (count > 1, count == 1)
    assert [path.name for path in list_images(tmp_path)] == ["1.gif"]
    (tmp_path / "text.gif").write_text("no image")
    assert is_image(tmp_path / "text.gif")
    assert is_video("http://host/cat.gif")


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_deep_greys_are_scaled_by_the_bits_that_are_used(
    tmp_path: Path, bits: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_SAID", set())
    ramp = np.linspace(0, (1 << bits) - 1, 256).round().astype(np.uint16)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.tile(ramp, (16, 1)))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(image[0, :, 0].astype(int), np.arange(256), atol=1)
    read_image(tmp_path / "b.png")
    assert caplog.text.count(f"of which {bits} are used") == 1


@pytest.mark.parametrize("name", ["plain.heic", "named.jpg"])
def test_heic_is_read_whole_under_any_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heif = pytest.importorskip("pillow_heif")
    path = tmp_path / name
    rgb = np.ascontiguousarray(quadrants(256, 192)[..., ::-1])
    heif.encode("RGB", (256, 192), rgb.tobytes(), path, quality=90, format="HEIF")
    assert is_image(path)
    image = read_image(path)
    assert image.shape == (192, 256, 3)
    np.testing.assert_allclose(np.array(middles(image)).astype(int), QUADRANTS, atol=12)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=name):
        read_image(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match="HEIC: run pip install pillow-heif, or convert"):
        read_image(path)


@pytest.mark.shared
def test_the_cases_of_real_images(shared: Path) -> None:
    folder = shared / "cases" / "pictures"
    sizes = {path.name: read_image(path).shape[:2] for path in folder.glob("*.[aj]*")}
    assert sizes == {"exif6.jfif": (480, 640), "plain.avif": (480, 640)}
    pytest.importorskip("pillow_heif")
    assert read_image(folder / "tiles.heic").shape == (512, 512, 3)
    assert read_image(folder / "plain.heic").shape == (480, 640, 3)


def test_names_that_no_system_takes_and_what_is_no_file() -> None:
    for path in ("a\0.png", "a\ud800.png", "x" * 5000 + ".png"):
        with pytest.raises(InputError, match="cannot be opened"):
            read_image(path)
    if sys.platform != "win32":
        with pytest.raises(InputError, match="it is no file"):
            read_image("/dev/zero")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_and_mirrored_as_its_boxes_say(tmp_path: Path, orientation: int) -> None:
    image_module = pytest.importorskip("PIL.Image")
    if not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    stored = image_module.fromarray(quadrants()[..., ::-1])
    exif = stored.getexif()
    exif[0x0112] = orientation
    path = tmp_path / "a.avif"
    stored.save(path, exif=exif, quality=95)  # libavif makes boxes of the orientation
    (tmp_path / "a.jpg").write_bytes(exif_jpeg(quadrants(), orientation))
    image, as_jpeg = read_image(path), read_image(tmp_path / "a.jpg")
    assert image.shape == as_jpeg.shape
    assert np.abs(image.astype(int) - as_jpeg).mean() < 5
    plain = read_image(path, ignore_exif=True)
    assert np.abs(plain.astype(int) - quadrants()).mean() < 5
