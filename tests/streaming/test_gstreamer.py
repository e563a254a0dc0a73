"""Pipelines, if there is a gst-launch-1.0; packets as GStreamer's dataprotocol.c lays them out."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from jetson import as_here, can_decode, has_element

from pcr_rt import media
from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.streaming import gstreamer
from pcr_rt.streaming.gstreamer import (
    HEADER,
    GStreamerSource,
    TimedFrame,
    csi_pipeline,
    nvv4l2_pipeline,
    read_frames,
)
from pcr_rt.streaming.open import open_source
from toy_streams import numbered

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="there is no gst-launch-1.0"
)
CAPS = b"video/x-raw, format=(string)BGR, width=(int)2, height=(int)2, framerate=(fraction)30/1\0"
EVENT = 10318
NEVER = (2**64 - 1).to_bytes(8, "big")


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


# Packets, put together by hand


def packet(kind: int, payload: bytes, time: bytes = NEVER, major: int = 1) -> bytes:
    head = bytes([major, 0, 1, 0]) + kind.to_bytes(2, "big") + len(payload).to_bytes(4, "big")
    return head + time + bytes(44) + payload


def read(data: bytes) -> list[TimedFrame]:
    stream = io.BytesIO(data)
    return list(read_frames(lambda count: bytearray(stream.read(count))))


def test_frames_have_their_times_and_padding_is_left_out() -> None:
    rows = bytes([1, 2, 3, 4, 5, 6, 99, 99, 7, 8, 9, 10, 11, 12, 99, 99])  # 6 bytes, padded to 8
    time = (1_500_000_000).to_bytes(8, "big")
    data = packet(EVENT, b"GstEventStreamStart") + packet(2, CAPS) + packet(1, rows, time)
    first, second = read(data + packet(1, rows))
    expected = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    np.testing.assert_array_equal(first.frame, expected)
    assert (first.seconds, first.fps) == (1.5, 30)
    assert second.seconds is None


def test_a_rate_that_is_not_known_is_none() -> None:
    data = packet(2, CAPS.replace(b"30/1", b"0/1")) + packet(1, bytes(16))
    assert read(data)[0].fps is None


def test_a_stream_that_is_cut_off_ends() -> None:
    data = packet(2, CAPS) + packet(1, bytes(16))
    assert len(read(data + packet(1, bytes(16))[:70])) == 1
    assert len(read(data + packet(1, bytes(16))[:20])) == 1


@pytest.mark.parametrize("rate", [b"30/0", b"0/1", b"9" * 5000 + b"/1"])
def test_a_rate_that_is_none(rate: bytes) -> None:
    (frame,) = read(packet(2, CAPS.replace(b"30/1", rate)) + packet(1, bytes(16)))
    assert frame.fps is None


def test_finite_pipelines_are_not_live() -> None:
    for pipeline, live in (
        ("videotestsrc num-buffers=30 ! videoconvert", False),
        ("filesrc location=a.mp4 ! decodebin", False),
        ("videotestsrc ! videoconvert", True),
    ):
        source = GStreamerSource(pipeline)
        assert (source.live, source.reconnects) == (live, live)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (packet(1, bytes(16), major=7), "something other than frames"),
        (packet(1, bytes(16)), "16 bytes for 0x0"),
        (packet(2, CAPS) + packet(1, bytes(15)), "15 bytes for 2x2"),
        (packet(2, CAPS) + packet(1, bytes(8)), "8 bytes for 2x2"),
        (HEADER.pack(1, 0, 1, 2**32 - 1, 0), "something other than frames"),
        (packet(2, CAPS) + HEADER.pack(1, 0, 1, 2**32 - 1, 0), "something other than frames"),
        (packet(2, CAPS.replace(b")2,", b")%d," % 10**60)), "not BGR frames"),
        (packet(2, b"audio/x-raw"), "not BGR frames"),
        (packet(2, CAPS.replace(b"BGR", b"RGB")), "not BGR frames"),
    ],
)
def test_other_streams_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read(data)
