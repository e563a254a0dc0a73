from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt import media
from pcr_rt.errors import InputError
from pcr_rt.media import Camera, VideoReader, VideoWriter, is_video, list_images, read_image

Frame = NDArray[np.uint8]
QUADRANTS = [[(200, 40, 40), (40, 200, 40)], [(40, 40, 200), (200, 200, 200)]]


def quadrants(width: int = 64, height: int = 48) -> Frame:
    """Blue, green; red, light grey."""
    frame = np.empty((height, width, 3), np.uint8)
    for row, line in enumerate(QUADRANTS):
        for column, colour in enumerate(line):
            rows = slice(row * height // 2, (row + 1) * height // 2 if row == 0 else None)
            columns = slice(column * width // 2, (column + 1) * width // 2 if column == 0 else None)
            frame[rows, columns] = colour
    return frame


def middles(frame: Frame) -> list[list[Any]]:
    height, width = frame.shape[:2]
    return [
        [frame[y, x] for x in (width // 4, width * 3 // 4)] for y in (height // 4, height * 3 // 4)
    ]


def write_clip(path: Path, frames: int = 12, size: tuple[int, int] = (64, 48)) -> Path:
    """Frame k is grey of level 20 + 15 k."""
    with VideoWriter(path, size, 25) as writer:
        for k in range(frames):
            writer.write(np.full((size[1], size[0], 3), 20 + 15 * k, np.uint8))
    return path


# Pictures


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
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "d.webp"]
    with pytest.raises(InputError, match="missing"):
        list_images(tmp_path / "missing")
    with pytest.raises(InputError, match="folder"):
        list_images(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        list_images(tmp_path / "empty")


def test_videos_are_known_by_name() -> None:
    assert is_video("walk.mp4")
    assert is_video(Path("folder/WALK.MOV"))
    assert not is_video("street.jpg")
    assert not is_video("mp4")


# Videos


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "grey.mp4"
    write_clip(path)
    with VideoReader(path) as video:
        assert (video.size, video.fps, video.frames) == ((64, 48), 25, 12)
        frames = list(video)
    np.testing.assert_allclose([time for _, time in frames], np.arange(12) / 25, atol=1e-3)
    for k, (frame, _) in enumerate(frames):
        assert (frame.shape, frame.dtype) == ((48, 64, 3), np.uint8)
        np.testing.assert_allclose(frame.astype(int), 20 + 15 * k, atol=6)
    assert [file.name for file in tmp_path.iterdir()] == ["grey.mp4"]


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 1)])
def test_files_play_in_browsers(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, size, 30000 / 1001) as writer:
        for _ in range(3):
            writer.write(quadrants(*size))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        assert stream.average_rate.as_integer_ratio() == (30000, 1001)
        assert sum(1 for _ in container.decode(video=0)) == 3
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")  # a browser can begin before it has all


def test_colours_survive(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (1280, 720), 30) as writer:
        writer.write(quadrants(1280, 720))
    with VideoReader(tmp_path / "a.mp4") as video:
        frame, _ = next(iter(video))
    np.testing.assert_allclose(np.array(middles(frame), int), QUADRANTS, atol=6)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace in (5, 6)  # both are BT.601


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        # a b u, c d v, x y w of the track header: x' = a x + c y, y' = b x + d y, y downwards.
        ((0, 1, 0, -1, 0, 0), (1, 0)),  # turned clockwise: bottom left comes to the top left
        ((0, -1, 0, 1, 0, 0), (0, 1)),  # counter-clockwise: top right comes to the top left
        ((-1, 0, 0, 0, -1, 0), (1, 1)),
    ],
)
def test_rotation_in_the_file_is_honoured(
    tmp_path: Path, matrix: tuple[int, ...], corner: tuple[int, int]
) -> None:
    path = tmp_path / "phone.mp4"
    with VideoWriter(path, (64, 48), 25) as writer:
        writer.write(quadrants())
    data = path.read_bytes()
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    track = data.index(identity, data.index(b"tkhd"))
    turned = struct.pack(">9i", *(v << 16 for v in matrix), 0, 0, 1 << 30)
    path.write_bytes(data[:track] + turned + data[track + len(turned) :])
    with VideoReader(path) as video:
        frame, _ = next(iter(video))
        assert video.size == ((64, 48) if matrix[0] else (48, 64))
    assert frame.shape[:2] == video.size[::-1]
    np.testing.assert_allclose(
        middles(frame)[0][0].astype(int), QUADRANTS[corner[0]][corner[1]], atol=12
    )


def test_the_sample_clip_is_read(sample_clip: Path) -> None:
    with VideoReader(sample_clip) as video:
        assert video.size == (960, 540)
        assert video.fps == 30
        frame, time = next(iter(video))
    assert frame.shape == (540, 960, 3)
    assert time == 0


def test_a_video_cut_short_gives_what_it_has(tmp_path: Path, sample_clip: Path) -> None:
    path = tmp_path / "cut.mp4"
    data = sample_clip.read_bytes()
    path.write_bytes(data[: len(data) // 4])
    frames = 0
    with VideoReader(path) as video:
        assert video.frames is not None
        with pytest.raises(InputError, match="cut short") as error:
            for _ in video:
                frames += 1
        assert 0 < frames < video.frames / 2
    assert f"{frames} frames" in str(error.value)


def test_whole_videos_end_quietly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "a.mp4")
    with caplog.at_level(logging.WARNING), VideoReader(tmp_path / "a.mp4") as video:
        assert sum(1 for _ in video) == 12
    assert not caplog.records


def only_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", 44100)
        samples = av.AudioFrame.from_ndarray(
            np.zeros((2, 1024), np.float32), format="fltp", layout="stereo"
        )
        samples.rate = 44100
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    only_sound(tmp_path / "sound.mp4")
    whole = write_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "header.mp4").write_bytes(whole[: whole.index(b"mdat")])
    for name in ("text.mp4", "empty.mp4", "sound.mp4", "header.mp4", "missing.mp4", "."):
        with pytest.raises(InputError, match=name):
            VideoReader(tmp_path / name if name != "." else tmp_path)


def write_and_raise(path: Path, frames: int, error: BaseException) -> None:
    with VideoWriter(path, (64, 48), 25) as writer:
        for _ in range(frames):
            writer.write(quadrants())
        raise error


def test_ctrl_c_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt):
        write_and_raise(path, 5, KeyboardInterrupt())
    with VideoReader(path) as video:
        assert sum(1 for _ in video) == 5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("frames", [0, 2])
def test_other_errors_leave_no_file(tmp_path: Path, frames: int) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        write_and_raise(tmp_path / "a.mp4", frames, RuntimeError("stop"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_spares_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"of before")
    with pytest.raises(RuntimeError, match="stop"):
        write_and_raise(path, 2, RuntimeError("stop"))
    assert path.read_bytes() == b"of before"


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, (64, 48), 25) as writer:
        writer.write(quadrants())
        assert not path.exists()
    assert path.exists()


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    writer.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_other_containers(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"a{suffix}")
    with VideoReader(path) as video:
        assert video.frames == 12
        assert sum(1 for _ in video) == 12


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for path in (
        tmp_path / "file" / "a.mp4",
        tmp_path / "missing" / "a.mp4",
        tmp_path / "a.txt",
        tmp_path / "a",
        tmp_path / "folder.mp4",
    ):
        with pytest.raises(InputError, match="cannot be written"):
            VideoWriter(path, (64, 48), 25)
    for size, fps in (((0, 48), 25), ((64, 48), 0), ((64, 48), -1)):
        with pytest.raises(InputError, match="cannot be written"):
            VideoWriter(tmp_path / "a.mp4", size, fps)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.mp4"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48), 25)
    # FFmpeg opens the file with its first packet, which the encoder holds back.
    part = next(tmp_path.iterdir())
    part.unlink()
    part.symlink_to("/dev/full")
    writer.write(quadrants())
    with pytest.raises(InputError, match="No space left"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((48, 63, 3), np.uint8),
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 3), np.float32),
    ],
)
def test_frames_of_another_kind_are_refused(tmp_path: Path, frame: NDArray[Any]) -> None:
    with (
        pytest.raises(InputError, match=r"\(48, 64, 3\) uint8"),
        VideoWriter(tmp_path / "a.mp4", (64, 48), 25) as writer,
    ):
        writer.write(frame)


def test_without_h264_a_sentence_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(media, "ENCODERS", ("no_such_encoder", "mpeg4"))
    path = write_clip(tmp_path / "a.mp4")
    assert "no H.264 encoder" in caplog.text
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert sum(1 for _ in container.decode(video=0)) == 12


# Cameras


def test_a_camera_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    level = _log_level()
    with pytest.raises(InputError, match="Camera 99 does not exist"):
        Camera(99)
    assert capfd.readouterr().err == ""
    assert _log_level() == level


def _log_level() -> int:
    logger: Any = getattr(cv2.utils, "logging", cv2)
    return int(logger.getLogLevel())


class FakeCapture:
    """Three frames, then unplugged; remembers what was asked, in order."""

    def __init__(self, camera: int | str) -> None:
        self.left, self.released = 4, False
        self.asked: list[tuple[int, float]] = []

    def read(self) -> tuple[bool, Frame | None]:
        self.left -= 1
        return (True, quadrants()) if self.left >= 0 else (False, None)

    def set(self, what: int, value: float) -> bool:
        self.asked.append((what, value))
        return True

    def get(self, what: int) -> float:
        assert what == cv2.CAP_PROP_FPS
        return 0.0

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_frames_until_it_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    with Camera(0) as camera:
        assert (camera.size, camera.fps) == ((64, 48), 30)
        frames = list(camera)
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[0], quadrants())


def test_a_camera_is_asked_for_its_format_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    with Camera("/dev/video0", width=1280, height=720, fps=60, fourcc="MJPG") as camera:
        asked = camera._capture.asked
    # The four letters from the lowest byte on, as Video4Linux packs them.
    assert asked == [
        (cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 60),
    ]
    assert "gives 64x48 instead of 1280x720" in caplog.text
    with pytest.raises(InputError, match="four letters"):
        Camera(0, fourcc="MJPEG")


# Recordings


def test_a_recording_keeps_the_times_of_its_frames(tmp_path: Path) -> None:
    path, times = tmp_path / "a.mp4", [0.0, 0.04, 0.5, 0.5, 1.25]
    with VideoWriter(path, (64, 48), 25, recording=True) as writer:
        for seconds in times:
            writer.write(quadrants(), seconds)
    with VideoReader(path) as video:
        read = [seconds for _, seconds in video]
    np.testing.assert_allclose(read, times, atol=2e-4)


def test_a_recording_can_be_played_before_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, (64, 48), 25, recording=True)
    for k in range(130):
        writer.write(quadrants(), k / 25)
    with VideoReader(path) as video:
        kept = len(list(video))
    # Fragments are of two seconds; the last ones may still be under way.
    assert kept >= 50
    writer.close()
    with VideoReader(path) as video:
        assert len(list(video)) == 130


FULL_DISK = """
import resource, sys
import numpy as np
from pcr_rt.errors import InputError
from pcr_rt.media import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
noise = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], (320, 240), 25, recording=True) as writer:
        for k in range(1000):
            writer.write(noise.integers(0, 255, (240, 320, 3), dtype=np.uint8), k / 25)
except InputError as error:
    print(error)
"""


def test_a_recording_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", FULL_DISK, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "cannot be written (File too large)" in done.stdout
    with av.open(str(path)) as container:
        frames = 0
        try:
            for _ in container.decode(video=0):
                frames += 1
        except av.error.FFmpegError:
            pass  # the last fragment is cut
    assert frames > 3
