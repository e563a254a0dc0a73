from __future__ import annotations

import logging
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from drawn_frames import QUADRANTS, middles, quadrants, write_clip
from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader, VideoWriter, is_video


def test_videos_are_known_by_name() -> None:
    assert is_video("walk.mp4")
    assert is_video(Path("folder/WALK.MOV"))
    assert not is_video("street.jpg")
    assert not is_video("mp4")


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


@pytest.mark.parametrize(
    ("matrix", "left", "right"),
    [
        # a b c d of the track header: x' = a x + c y, y' = b x + d y, y downwards. left, right:
        # which quadrants (row, column) of the stored frame come to the top of the shown one.
        ((0, 1, -1, 0), (1, 0), (0, 0)),  # turned clockwise
        ((0, -1, 1, 0), (0, 1), (1, 1)),  # counter-clockwise
        ((-1, 0, 0, -1), (1, 1), (1, 0)),
        ((-1, 0, 0, 1), (0, 1), (0, 0)),  # mirrored, as selfies are
        ((1, 0, 0, -1), (1, 0), (1, 1)),
        ((0, 1, 1, 0), (0, 0), (1, 0)),
        ((0, -1, -1, 0), (1, 1), (0, 1)),
    ],
)
def test_rotation_and_mirror_in_the_file_are_honoured(
    tmp_path: Path, matrix: tuple[int, ...], left: tuple[int, int], right: tuple[int, int]
) -> None:
    path = tmp_path / "phone.mp4"
    with VideoWriter(path, (64, 48), 25) as writer:
        writer.write(quadrants())
    data = path.read_bytes()
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    track = data.index(identity, data.index(b"tkhd"))
    a, b, c, d = (v << 16 for v in matrix)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:track] + turned + data[track + len(turned) :])
    with VideoReader(path) as video:
        frame, _ = next(iter(video))
        assert video.size == ((64, 48) if matrix[0] else (48, 64))
    assert frame.shape[:2] == video.size[::-1]
    for found, (row, column) in zip(middles(frame)[0], (left, right), strict=True):
        np.testing.assert_allclose(found.astype(int), QUADRANTS[row][column], atol=12)


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


def written(
    path: Path,
    count: int,
    *,
    gop_size: int = 250,
    codec: str = "libx264",
    b_frames: int = 0,
    tags: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    **layout: str,
) -> Path:
    """Grey frames at 25 a second with a key frame each ``gop_size``; grey is 2 a frame."""
    with av.open(str(path), "w", options=layout) as container:
        container.metadata.update(tags or {})
        options = {"bf": str(b_frames)} if codec == "libx264" else {}
        stream = container.add_stream(codec, 25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = gop_size
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 2 * k, np.uint8), "bgr24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_video_trimmed_without_encoding_is_whole(tmp_path: Path) -> None:
    """As ``ffmpeg -ss 1.6 -c copy``: what lies before is in the file, at times below 0."""
    whole, path = written(tmp_path / "whole.mp4", 100), tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as container, av.open(str(path), "w") as output:
        copied = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.dts is None:
                continue
            before = round(1.6 / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - before, packet.dts - before, copied
            output.mux(packet)
    with VideoReader(path) as video:
        frames = list(video)
    np.testing.assert_allclose([time for _, time in frames], np.arange(60) / 25, atol=1e-3)
    assert frames[0][0].mean() == pytest.approx(80, abs=6)


def test_joined_videos_follow_on_each_other(tmp_path: Path) -> None:
    parts = [written(tmp_path / f"{name}.ts", 30, gop_size=10).read_bytes() for name in "ab"]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    with VideoReader(tmp_path / "joined.ts") as video:
        times = [time for _, time in video]
    np.testing.assert_allclose(times, np.arange(60) / 25, atol=1e-3)


def test_a_name_may_hold_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("10:30:00.mp4"))
    with VideoReader("10:30:00.mp4") as video:
        assert sum(1 for _ in video) == 12
    assert [file.name for file in tmp_path.iterdir()] == ["10:30:00.mp4"]


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
    (tmp_path / "notes.txt").write_text("no video\n" * 200)  # which FFmpeg would play
    with pytest.raises(InputError, match="is text and no video"):
        VideoReader(tmp_path / "notes.txt")
