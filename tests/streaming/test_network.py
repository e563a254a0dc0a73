"""Streams and recordings behind an address."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from drawn_frames import write_clip
from pcr_rt.errors import InputError
from pcr_rt.media import video_reader
from pcr_rt.streaming.network import NetworkSource
from pcr_rt.streaming.open import open_source
from toy_streams import stream


def test_passwords_stay_out_of_names_and_messages() -> None:
    assert "secret" not in NetworkSource("rtsp://me:secret@127.0.0.1/").name
    for url in ("http://me:secret@127.0.0.1:9/clip.mp4", "rtsp://me:[secret@127.0.0.1:9/"):
        with pytest.raises(InputError, match="cannot be opened") as error:
            list(open_source(url).frames())
        assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:9/a", "http://127.0.0.1:9/a", "nonsense://a"])
def test_a_wrong_address_is_one_sentence(url: str) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        list(open_source(url).frames())


class MotionJpeg(http.server.BaseHTTPRequestHandler):
    """An IP camera: eight JPEG images, then silence or the end."""

    hangs = False

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
        self.end_headers()
        for k in range(8):
            image = np.full((48, 64, 3), 30 * k, np.uint8)
            data = cv2.imencode(".jpg", image)[1].tobytes()
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


def test_an_ip_camera_gives_its_images(motion_jpeg: str) -> None:
    before = time.monotonic()
    items = []
    with contextlib.suppress(InputError):  # the connection ends without a word
        for item in open_source(motion_jpeg).frames():
            items.append(item)
    levels = [round(float(f.mean()) / 30) for f, _ in items if f is not None]
    assert levels == list(range(8))[-len(levels) :]
    assert len(levels) >= 6
    assert all(before <= t <= time.monotonic() for _, t in items)


def test_a_recording_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_reader, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/clip.mp4"
        with pytest.raises(InputError, match="cannot be opened"):
            list(open_source(url).frames())


@pytest.mark.parametrize("motion_jpeg", [True], indirect=True)
def test_silence_is_a_loss(motion_jpeg: str) -> None:
    frames = NetworkSource(motion_jpeg, timeout_s=0.5).frames()
    start = time.monotonic()
    with pytest.raises(InputError, match=r"broke off|cannot be opened"):
        for _ in frames:
            pass
    assert time.monotonic() - start < 4


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *what: Any) -> None: ...

    handler = partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_recordings_behind_http_are_read_once_and_whole(served: tuple[Path, str]) -> None:
    """A file whose name does not end like a video's, and a finished HLS playlist."""
    folder, address = served
    with av.open(str(folder / "index.m3u8"), "w", format="hls", options={"hls_time": "1"}) as hls:
        film = hls.add_stream("libx264", 10)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        film.codec_context.gop_size = 10
        for k in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 6 * k, np.uint8), "bgr24")
            frame.pts = k
            hls.mux(film.encode(frame))
        hls.mux(film.encode(None))
    write_clip(folder / "clip.mp4").rename(folder / "download")
    for name, count, fps in (("download", 12, 25), ("index.m3u8", 40, 10)):
        source = open_source(f"{address}/{name}?token=1")
        items = list(source.frames())
        assert (source.live, source.reconnects, source.fps) == (False, False, fps)
        assert [seconds for _, seconds in items] == pytest.approx(
            [k / fps for k in range(count)], abs=2e-3
        )
    with stream(open_source(f"{address}/download")) as poses:
        assert [result.poses.frame_index for result in poses.results()] == list(range(12))
