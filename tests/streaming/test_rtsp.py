"""A real RTSP server that dies and comes back, with frames of another size."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from jetson import as_here, can_decode

from pcr_rt.streaming import reader
from pcr_rt.streaming.gstreamer import GStreamerSource, nvv4l2_pipeline
from pcr_rt.streaming.open import open_source
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.sources import Source
from toy_streams import ToyEstimator

SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(service=sys.argv[1], address="127.0.0.1")
factory = GstRtspServer.RTSPMediaFactory(shared=True, launch=(
    "( videotestsrc is-live=true num-buffers=%s ! video/x-raw,width=%s,height=%s,framerate=15/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=%s"
    " ! rtph264pay name=pay0 pt=96 )" % tuple(sys.argv[2:])))
server.get_mount_points().add_factory("/a", factory)
server.attach(None)
print("serving", flush=True)
GLib.MainLoop().run()
"""
PYTHON = shutil.which("python3", path="/usr/bin")
"""Debian's own: PyGObject comes with it."""


def _can_serve() -> bool:
    if PYTHON is None:
        return False
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst;"
    check += "Gst.init(None); assert Gst.ElementFactory.find('x264enc')"
    return subprocess.run([PYTHON, "-c", check], capture_output=True).returncode == 0


@contextlib.contextmanager
def serving(
    port: int, width: int, height: int, *, frames: int = -1, key_frames: int = 15
) -> Iterator[subprocess.Popen[str]]:
    """Serve rtsp://127.0.0.1:port/a; frames: how many, -1 without end; key_frames: each so many."""
    assert PYTHON is not None
    numbers = port, frames, width, height, key_frames
    command = [PYTHON, "-c", SERVER, *map(str, numbers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "serving\n"
        try:
            yield server
        finally:
            server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def by_ffmpeg(url: str) -> Source:
    return open_source(url)


def by_gstreamer(url: str) -> Source:
    """A Jetson's pipeline, decoded by this machine's GStreamer."""
    if not can_decode():
        pytest.skip("this GStreamer decodes no H.264")
    return GStreamerSource(as_here(nvv4l2_pipeline(url)), name=open_source(url).name, timeout_s=5)


@pytest.mark.slow
@pytest.mark.skipif(not _can_serve(), reason="there is no GStreamer RTSP server")
@pytest.mark.parametrize("opened", [by_ffmpeg, by_gstreamer])
def test_a_killed_server_is_reconnected(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    opened: Callable[[str], Source],
) -> None:
    monkeypatch.setattr(reader, "FIRST_DELAY_S", 0.1)
    port = free_port()
    servers = contextlib.ExitStack()
    first = servers.enter_context(serving(port, 160, 120))
    stream = PoseStream(opened(f"rtsp://me:secret@127.0.0.1:{port}/a"), ToyEstimator(), track=False)
    sizes: list[tuple[int, int] | None] = []
    deadline = time.monotonic() + 60
    with servers, stream:
        for _, poses in stream:
            sizes.append(poses.image_size)
            if len(sizes) == 10:
                first.kill()
                first.wait()
                servers.enter_context(serving(port, 320, 240))
            if sizes.count((320, 240)) == 10 or time.monotonic() > deadline:
                break
    assert sizes[:10] == [(160, 120)] * 10
    assert sizes.count((320, 240)) == 10
    (stats,) = stream.stats
    assert stats.reconnects == 1
    assert stats.shown + stats.dropped + stats.failed == stats.read
    assert "is back" in caplog.text
    assert "now gives frames of 320x240" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(not _can_serve(), reason="there is no GStreamer RTSP server")
def test_the_first_key_frame_is_not_thrown_away() -> None:
    """Some cameras send one every 25 s; here it is the only one."""
    port = free_port()
    with serving(port, 160, 120, frames=60, key_frames=10_000):
        frames = open_source(f"rtsp://127.0.0.1:{port}/a").frames()
        first = next((frame for frame, _ in frames if frame is not None), None)
    assert first is not None
    assert first.shape == (120, 160, 3)
