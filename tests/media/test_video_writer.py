from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from drawn_frames import QUADRANTS, middles, quadrants, write_clip
from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader, VideoWriter, video_writer


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
    monkeypatch.setattr(video_writer, "ENCODERS", ("no_such_encoder", "mpeg4"))
    path = write_clip(tmp_path / "a.mp4")
    assert "no H.264 encoder" in caplog.text
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert sum(1 for _ in container.decode(video=0)) == 12


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
