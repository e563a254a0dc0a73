from __future__ import annotations

import contextlib
import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from toy_streams import numbered

from pcr_rt import media
from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.streaming import gstreamer
from pcr_rt.streaming.gstreamer import GStreamerSource, csi_pipeline
from pcr_rt.streaming.network import NetworkSource, hide_password
from pcr_rt.streaming.sources import (
    CameraSource,
    FolderSource,
    FrameSource,
    Source,
    VideoSource,
    open_source,
)

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="there is no gst-launch-1.0"
)


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


def test_a_camera_is_opened_with_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class FakeCamera:
        fps = 25.0

        def __init__(self, *given: Any, **options: Any) -> None:
            asked.append((given, options))

        def __enter__(self) -> Iterator[Any]:
            return iter([])

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr("pcr_rt.streaming.sources.Camera", FakeCamera)
    source = open_source("2", width=1280, height=720, fps=25, fourcc="MJPG")
    with pytest.raises(AttributeError):  # an iterator has no fps
        list(source.frames())
    assert asked == [((2,), {"width": 1280, "height": 720, "fps": 25, "fourcc": "MJPG"})]


def test_no_camera_is_one_sentence() -> None:
    with pytest.raises(InputError, match="Camera 97 does not exist"):
        list(open_source(97).frames())


def test_a_folder_gives_its_pictures_and_counts_broken_ones(tmp_path: Path) -> None:
    for n in (2, 0):
        cv2.imwrite(str(tmp_path / f"{n}.png"), numbered(n, size=(32 + n, 24)))
    (tmp_path / "1.png").write_bytes(b"no picture")
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


def test_iterators_may_reuse_their_buffer() -> None:
    buffer = numbered(0)

    def frames() -> Iterator[Any]:
        for n in range(3):
            buffer[0, 0, 0] = n
            yield buffer

    assert [int(f[0, 0, 0]) for f, _ in list(open_source(frames()).frames())] == [0, 1, 2]


# The network


def test_passwords_stay_out_of_names() -> None:
    assert hide_password("rtsp://me:se@cret@10.0.0.2:554/a?b=1") == "rtsp://***@10.0.0.2:554/a?b=1"
    assert hide_password("rtsp://10.0.0.2/a") == "rtsp://10.0.0.2/a"
    assert "secret" not in NetworkSource("rtsp://me:secret@127.0.0.1/").name


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:9/a", "http://127.0.0.1:9/a", "nonsense://a"])
def test_a_wrong_address_is_one_sentence(url: str) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        list(open_source(url).frames())


class MotionJpeg(http.server.BaseHTTPRequestHandler):
    """An IP camera: eight JPEG pictures, then silence or the end."""

    hangs = False

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
        self.end_headers()
        for k in range(8):
            picture = np.full((48, 64, 3), 30 * k, np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
        if self.hangs:
            time.sleep(5)

    def log_message(self, *what: Any) -> None: ...


@pytest.fixture
def motion_jpeg(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Handler", (MotionJpeg,), {"hangs": getattr(request, "param", False)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/live"
        server.shutdown()


def test_an_ip_camera_gives_its_pictures(motion_jpeg: str) -> None:
    before = time.monotonic()
    items = []
    with contextlib.suppress(InputError):  # the connection ends without a word
        for item in open_source(motion_jpeg).frames():
            items.append(item)
    levels = [round(float(f.mean()) / 30) for f, _ in items if f is not None]
    assert levels == list(range(8))[-len(levels) :]
    assert len(levels) >= 6
    assert all(before <= t <= time.monotonic() for _, t in items)


@pytest.mark.parametrize("motion_jpeg", [True], indirect=True)
def test_silence_is_a_loss(motion_jpeg: str) -> None:
    frames = NetworkSource(motion_jpeg, timeout_s=0.5).frames()
    start = time.monotonic()
    with pytest.raises(InputError, match=r"broke off|cannot be opened"):
        for _ in frames:
            pass
    assert time.monotonic() - start < 4


# GStreamer


@needs_gstreamer
@pytest.mark.parametrize("end", ["", " ! appsink", " ! videoconvert ! appsink drop=true"])
def test_a_pipeline_gives_frames_of_odd_sizes(end: str) -> None:
    caps = "video/x-raw,width=33,height=21,framerate=10/1"
    pipeline = f"videotestsrc pattern=red num-buffers=4 ! {caps}{end}"
    source = GStreamerSource(pipeline, live=False)
    items = list(source.frames())
    assert [t for _, t in items] == pytest.approx([0, 0.1, 0.2, 0.3])
    for frame, _ in items:
        assert frame is not None
        assert frame.shape == (21, 33, 3)
        np.testing.assert_allclose(frame[2:-2, 2:-2], np.full((17, 29, 3), [0, 0, 255]), atol=3)


@needs_gstreamer
def test_a_pipeline_may_change_its_size(tmp_path: Path) -> None:
    for k, size in enumerate([(32, 24), (64, 48), (16, 16)]):
        cv2.imwrite(str(tmp_path / f"{k}.png"), numbered(0, size=size))
    pipeline = f"multifilesrc location={tmp_path}/%d.png caps=image/png,framerate=5/1 ! pngdec"
    shapes = [f.shape for f, _ in open_source(pipeline).frames() if f is not None]
    assert shapes == [(24, 32, 3), (48, 64, 3), (16, 16, 3)]


@needs_gstreamer
def test_a_pipeline_that_cannot_be_built_says_why() -> None:
    with pytest.raises(InputError, match='no element "nosuchelement"'):
        list(open_source("nosuchelement ! identity").frames())


@needs_gstreamer
def test_a_pipeline_without_frames_is_given_up() -> None:
    source = GStreamerSource("appsrc ! videoconvert", live=True, timeout_s=0.5)
    with pytest.raises(InputError, match="no frame"):
        list(source.frames())


@needs_gstreamer
def test_leaving_ends_the_child() -> None:
    source = GStreamerSource("videotestsrc ! video/x-raw,width=64,height=48")
    frames = source.frames()
    next(frames)
    child = source._child
    assert child is not None
    assert child.poll() is None
    frames.close()  # type: ignore[attr-defined]
    assert child.poll() is not None


def test_without_gstreamer_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"apt install gstreamer1\.0-tools"):
        list(open_source("videotestsrc ! identity").frames())
    with pytest.raises(InputError, match="cannot be read"):
        open_source("videotestsrc ! 'x")


def test_the_pipeline_of_a_csi_camera() -> None:
    assert csi_pipeline("csi://1", width=1920, height=1080, fps=60) == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,"
        "framerate=60/1 ! nvvidconv ! video/x-raw,format=BGRx"
    )
    with pytest.raises(InputError, match="csi://0"):
        csi_pipeline("csi://left")
