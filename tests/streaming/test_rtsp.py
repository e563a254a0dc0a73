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
    "( videotestsrc is-live=true ! video/x-raw,width=%s,height=%s,framerate=15/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15"
    " ! rtph264pay name=pay0 pt=96 )" % (sys.argv[2], sys.argv[3])))
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
def serving(port: int, width: int, height: int) -> Iterator[subprocess.Popen[str]]:
    assert PYTHON is not None
    command = [PYTHON, "-c", SERVER, str(port), str(width), str(height)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "serving\n"
        try:
            yield server
        finally:
            server.kill()


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
