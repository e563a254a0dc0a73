from __future__ import annotations

import contextlib
import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from jetson import as_here, can_decode, has_element

from pcr_rt import media
from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.streaming import gstreamer, reader
from pcr_rt.streaming.gstreamer import GStreamerSource, csi_pipeline, nvv4l2_pipeline
from pcr_rt.streaming.network import NetworkSource, hide_password
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.sources import (
    CameraSource,
    FolderSource,
    FrameSource,
    Source,
    VideoSource,
    open_source,
)
from toy_streams import ToyEstimator, numbered

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
    assert source.fps == 10
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
def test_a_jetson_decodes_a_file_with_its_own_times(tmp_path: Path) -> None:
    path, times = tmp_path / "with a 'space'.mp4", [0.0, 0.1, 0.15, 0.9]
    with media.VideoWriter(path, (34, 22), 25, recording=True) as writer:
        for k, seconds in enumerate(times):
            writer.write(np.full((22, 34, 3), 20 + 60 * k, np.uint8), seconds)
    opened = open_source(path, decoder="nvv4l2")
    assert isinstance(opened, GStreamerSource)
    assert (opened.live, opened.name) == (False, "video with a 'space'.mp4")
    if not can_decode():
        pytest.skip("this GStreamer decodes no H.264")
    items = list(GStreamerSource(as_here(nvv4l2_pipeline(str(path)))).frames())
    np.testing.assert_allclose([t for _, t in items], times, atol=2e-4)
    for k, (frame, _) in enumerate(items):
        assert frame is not None
        assert frame.shape == (22, 34, 3)
        assert abs(frame.mean() - 20 - 60 * k) < 10


@needs_gstreamer
def test_what_the_cpu_decodes_is_not_taken_for_a_jetson_s(sample_clip: Path) -> None:
    if shutil.which("gst-inspect-1.0") is None or has_element("nvvidconv"):
        pytest.skip("this may be a Jetson")
    with pytest.raises(InputError, match='no element "nvvidconv"'):
        list(open_source(sample_clip, decoder="nvv4l2").frames())
    pipeline = nvv4l2_pipeline(str(sample_clip)).replace("nvvidconv", "identity")
    with pytest.raises(InputError, match=r"Internal data stream error \(not-linked"):
        list(GStreamerSource(pipeline).frames())


@pytest.mark.parametrize(
    ("source", "begin", "live"),
    [
        ("rtsp://a:b@c/d?e=1", "rtspsrc location='rtsp://a:b@c/d?e=1' protocols=tcp", True),
        ("http://c/live", "uridecodebin uri=http://c/live ! video/x-raw(memory:NVMM) !", True),
        ("http://c/a.mp4", "uridecodebin uri=http://c/a.mp4 ! video/x-raw(memory:NVMM) !", False),
    ],
)
def test_a_jetson_decodes_network_streams(source: str, begin: str, live: bool) -> None:
    assert nvv4l2_pipeline(source).startswith(begin)
    opened = open_source(source, decoder="nvv4l2")
    assert isinstance(opened, GStreamerSource)
    assert opened.live == live
    assert "a:b" not in opened.name


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
def test_other_data_than_frames_is_one_sentence() -> None:
    with pytest.raises(InputError, match="could not link"):
        list(GStreamerSource("audiotestsrc num-buffers=1").frames())


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


@needs_gstreamer
def test_the_pipeline_of_a_csi_camera_runs() -> None:
    pipeline = csi_pipeline("csi://0", width=320, height=240, fps=10)
    camera = "nvarguscamerasrc sensor-id=0"
    assert pipeline.startswith(camera)
    pipeline = as_here(pipeline.replace(camera, "videotestsrc pattern=red"))
    source = GStreamerSource(pipeline)
    frames = source.frames()
    frame, _ = next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert frame is not None
    assert frame.shape == (240, 320, 3)
    np.testing.assert_allclose(frame[120, 160], [0, 0, 255], atol=3)
    assert source.fps == 10


def test_the_pipeline_of_a_csi_camera() -> None:
    assert csi_pipeline("csi://1", width=1920, height=1080, fps=60) == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,"
        "framerate=60/1 ! nvvidconv ! video/x-raw,format=BGRx"
    )
    with pytest.raises(InputError, match="csi://0"):
        csi_pipeline("csi://left")
