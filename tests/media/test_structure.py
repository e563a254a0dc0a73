"""Videos that have lost, zeroed or foreign bytes somewhere between their frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from films import film, read

from pcr_rt.media.structure import has_hole

KINDS = [
    ("a.mkv", "libx264"),
    ("a.webm", "libvpx"),
    ("a.avi", "mjpeg"),
    ("a.avi", "msmpeg4v3"),
    ("a.flv", "flv"),
    ("a.ts", "mpeg2video"),
    ("a.wmv", "wmv2"),
    ("a.gif", "gif"),
]


def made(path: Path, codec: str, **layout: str) -> bytes:
    if codec != "gif":
        return film(path, codec=codec, **layout).read_bytes()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", 10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "rgb8"
        for frame in np.random.default_rng(0).integers(0, 256, (20, 96, 160, 3), dtype=np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize(("name", "codec"), KINDS)
@pytest.mark.parametrize("part", [0.3, 0.6])
def test_lost_and_foreign_bytes_are_noticed(
    tmp_path: Path, name: str, codec: str, part: float
) -> None:
    path = tmp_path / name
    data = made(path, codec)
    frames, _, said = read(path)
    assert said == ""
    place = round(part * len(data))
    # Sixteen packets of a transport stream: their counters go on as if nothing had happened.
    for damaged in (data[:place] + data[place + 3001 :], data[:place] + data[place + 16 * 188 :]):
        path.write_bytes(damaged)
        found, _, said = read(path)
        assert "is damaged or cut short" in said
        assert len(found) < len(frames)


def test_zeros_over_sixteen_packets_of_a_transport_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    data = made(path, "mpeg2video")
    assert not has_hole(path, "mpegts")
    place = len(data) // 2 // 188 * 188
    path.write_bytes(data[:place] + bytes(16 * 188) + data[place + 16 * 188 :])
    assert has_hole(path, "mpegts")


def test_a_motion_jpeg_frame_that_ffmpeg_would_make_up(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    data = made(path, "mjpeg")
    place = data.index(b"mdat") + round(0.4 * len(data))
    path.write_bytes(data[:place] + bytes(300) + data[place + 300 :])
    frames, _, said = read(path)
    assert len(frames) == 59
    assert "is damaged or cut short" in said


def test_a_gif_that_ends_inside_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    data = made(path, "gif")
    for end, cut in ((len(data), False), (len(data) - 1, False), (len(data) // 2, True)):
        path.write_bytes(data[:end])  # many writers leave the last byte out
        assert has_hole(path, "gif") == cut


def test_pages_of_ogg_have_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", 48_000)
        for k in range(200):
            noise = np.random.default_rng(k).integers(-9000, 9000, (1, 2048), np.int16)
            samples = av.AudioFrame.from_ndarray(noise, format="s16")
            samples.rate, samples.pts = 48_000, 1024 * k
            container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert data.count(b"OggS") > 3
    assert not has_hole(path, "ogg")
    half = len(data) // 2
    page = data.index(b"OggS", half)
    for damaged in (
        data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
        data[:page] + data[data.index(b"OggS", page + 1) :],
        data[:page] + b"abc" + data[page:],
    ):
        path.write_bytes(damaged)
        assert has_hole(path, "ogg")


@pytest.mark.parametrize("trailing", [b"", bytes(1000), b"<!-- downloaded -->"])
def test_what_follows_a_whole_file_is_no_hole(tmp_path: Path, trailing: bytes) -> None:
    for name, codec, form in (("a.mkv", "libx264", "matroska,webm"), ("a.avi", "mjpeg", "avi")):
        path = tmp_path / name
        path.write_bytes(made(path, codec) + trailing)
        assert not has_hole(path, form)


def test_other_formats_and_places_are_no_chains(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert not has_hole(tmp_path / "empty", "avi")
    assert not has_hole(tmp_path / "none", "avi")
    assert not has_hole(Path("http://127.0.0.1:9/a.mkv"), "matroska,webm")
    made(tmp_path / "a.mp4", "libx264")
    assert not has_hole(tmp_path / "a.mp4", "mov,mp4,m4a,3gp,3g2,mj2")
