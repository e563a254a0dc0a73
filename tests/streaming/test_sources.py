from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from drawn_frames import write_clip
from pcr_rt import media
from pcr_rt.errors import InputError
from pcr_rt.streaming import reader
from pcr_rt.streaming.gstreamer import GStreamerSource
from pcr_rt.streaming.network import NetworkSource
from pcr_rt.streaming.open import open_source
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.sources import CameraSource, FolderSource, FrameSource, Source, VideoSource
from toy_streams import ToyEstimator, numbered


@pytest.mark.parametrize(
    ("source", "kind", "live"),
    [
        (0, CameraSource, True),
        ("3", CameraSource, True),
        ("/dev/video0", CameraSource, True),
        ("csi://1", GStreamerSource, True),
        ("videotestsrc ! identity", GStreamerSource, True),
        ("filesrc location=a.mkv ! decodebin", GStreamerSource, False),
        ("rtsp://camera:8554/a", NetworkSource, True),
        ("http://camera/clip.mp4?x=1", VideoSource, False),
        ("http://camera/video.mjpeg", NetworkSource, True),
        ("http://camera/live", NetworkSource, True),
        ([numbered(0)], FrameSource, False),
    ],
)
def test_sources_are_told_apart(source: Any, kind: type[Source], live: bool) -> None:
    opened = open_source(source)
    assert type(opened) is kind
    assert opened.live == live
    assert open_source(opened) is opened


def test_files_and_folders_are_told_apart(tmp_path: Path, sample_clip: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), numbered(1))
    assert type(open_source(tmp_path)) is FolderSource
    assert type(open_source(str(sample_clip))) is VideoSource


def test_an_option_that_no_source_has_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="no option 'wdith'"):
        open_source(0, wdith=640)  # type: ignore[call-arg]


class Unplugged:
    """A cv2.VideoCapture of a camera that is unplugged after each three frames and comes back."""

    sizes: ClassVar[list[tuple[int, int]]] = []
    asked: ClassVar[list[tuple[int, float]]] = []

    def __init__(self, camera: int) -> None:
        assert camera == 2
        self.size, self.left = self.sizes.pop(0), 3

    def set(self, what: int, value: float) -> bool:
        self.asked.append((what, value))
        return True

    def get(self, what: int) -> float:
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.01)
        self.left -= 1
        return (True, numbered(0, size=self.size)) if self.left >= 0 else (False, None)

    def release(self) -> None: ...


def test_a_camera_that_is_unplugged_is_opened_again_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(cv2, "VideoCapture", Unplugged)
    monkeypatch.setattr(Unplugged, "sizes", [(1280, 720), (640, 480), (640, 480)])
    monkeypatch.setattr(Unplugged, "asked", [])
    asked = {"width": 1280, "height": 720, "fps": 25, "fourcc": "MJPG"}
    sizes = []
    for _, poses in (stream := PoseStream("2", ToyEstimator(), track=False, **asked)):
        sizes.append(poses.image_size)
        if sizes[-1] == (640, 480):
            break
    assert sizes[0] == (1280, 720)
    assert stream.sources[0].fps == 25
    (stats,) = stream.stats
    assert (stats.name, stats.reconnects) == ("camera 2", 1)
    assert stats.shown + stats.dropped + stats.failed == stats.read
    once = [
        (cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 25),
    ]
    assert Unplugged.asked[:8] == once * 2


def test_no_camera_is_one_sentence() -> None:
    with pytest.raises(InputError, match="Camera 97 does not exist"):
        list(open_source(97).frames())


def test_a_folder_gives_its_images_and_counts_broken_ones(tmp_path: Path) -> None:
    for n in (2, 0):
        cv2.imwrite(str(tmp_path / f"{n}.png"), numbered(n, size=(32 + n, 24)))
    (tmp_path / "1.png").write_bytes(b"no image")
    items = list(open_source(tmp_path, fps=4).frames())
    assert [None if f is None else f.shape for f, _ in items] == [(24, 32, 3), None, (24, 34, 3)]
    assert [t for _, t in items] == [0, 0.25, 0.5]


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.9]
    with media.VideoWriter(tmp_path / "a.mp4", (32, 24), 25, recording=True) as writer:
        for seconds in times:
            writer.write(numbered(0), seconds)
    read = [t for _, t in open_source(tmp_path / "a.mp4").frames()]
    np.testing.assert_allclose(read, times, atol=2e-4)


def test_a_file_without_content_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match=r"a\.mp4 cannot be opened"):
        list(open_source(tmp_path / "a.mp4").frames())


def test_a_codec_that_is_missing_is_one_sentence(tmp_path: Path, sample_clip: Path) -> None:
    data = sample_clip.read_bytes()
    assert data.count(b"avc1") >= 1
    (tmp_path / "a.mp4").write_bytes(data.replace(b"avc1", b"zzzz"))
    # As a stream too, which would wait for its first frame for ever.
    for source in (VideoSource(tmp_path / "a.mp4"), NetworkSource(str(tmp_path / "a.mp4"))):
        with pytest.raises(InputError, match="codec that FFmpeg does not know"):
            list(source.frames())


def test_iterators_may_reuse_their_buffer() -> None:
    buffer = numbered(0)

    def frames() -> Iterator[Any]:
        for n in range(3):
            buffer[0, 0, 0] = n
            yield buffer

    assert [int(f[0, 0, 0]) for f, _ in list(open_source(frames()).frames())] == [0, 1, 2]


def test_a_file_by_its_url_is_a_recording(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4")
    source = open_source((tmp_path / "clip.mp4").as_uri())
    assert not source.live
    assert len(list(source.frames())) == 12


def test_a_name_with_an_exclamation_mark_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a ! b").mkdir()
    path = write_clip(tmp_path / "a ! b" / "clip.mp4")
    assert len(list(open_source(path).frames())) == 12
