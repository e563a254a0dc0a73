"""Videos as people have them: which stream, which times, which pixels, and what is damaged."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from films import film, read, texture

from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader
from pcr_rt.media.video_frames import FrameDecoder, choose_stream


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def punch(path: Path, share: float = 0.5, size: int = 400) -> Path:
    """Zero bytes inside the file."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * share)
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


def test_a_cover_image_is_not_the_video(tmp_path: Path) -> None:
    path = film(tmp_path / "drone.mp4", 12, cover=True)
    with av.open(str(path)) as container:
        assert container.streams.video[0].name == "mjpeg"
    with VideoReader(path) as video:
        assert (video.size, video.frames) == ((160, 96), 12)
        assert sum(1 for _ in video) == 12


def test_a_cover_alone_is_no_video() -> None:
    class Stream:
        frames, width, height = 30, 64, 48

        def __init__(self, disposition: str) -> None:
            self.disposition = disposition

    class Container:
        def __init__(self, *dispositions: str) -> None:
            self.video = [Stream(d) for d in dispositions]
            self.streams = self

        def best(self, kind: str) -> Any:
            return self.video[0] if self.video else None

    assert choose_stream(Container("Disposition.attached_pic")) is None
    both = Container("Disposition.attached_pic|default", "Disposition.default")
    assert choose_stream(both) is both.video[1]
    assert choose_stream(Container()) is None


def test_packets_without_presentation_times(tmp_path: Path) -> None:
    """AVI stores decoding times alone, and H.264 reorders its frames."""
    expected, _, _ = read(film(tmp_path / "a.mp4"))
    path = film(tmp_path / "a.avi")
    with av.open(str(path)) as container:
        shown = [frame.pts for frame in container.decode(video=0)]
    assert shown != sorted(shown)  # what FFmpeg makes of it
    frames, times, words = read(path)
    np.testing.assert_allclose(times, np.arange(60) / 30, atol=1e-6)
    assert np.abs(np.array(frames).astype(int) - expected).mean() < 3
    assert words == ""
    with VideoReader(path) as video:
        assert (video.fps, video.frames) == (30, 60)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.flv", "a.ts", "a.avi"])
def test_reordered_frames_keep_their_times(tmp_path: Path, name: str) -> None:
    frames, times, said = read(film(tmp_path / name))
    assert (len(frames), said) == (60, "")
    # Matroska and FLV count in ms.
    np.testing.assert_allclose(times, np.arange(60) / 30, atol=1.1e-3)


def test_frames_that_are_reordered_late_in_matroska(tmp_path: Path) -> None:
    """Its first packets have no decoding times, and a decoder of one thread holds few frames."""
    path, base = tmp_path / "a.mkv", texture(160, 96)
    noise = np.random.default_rng(0).integers(0, 256, (11, *base.shape), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for k in range(60):
            image = noise[k] if k < len(noise) else np.roll(base, k, 1)
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        decoder = FrameDecoder(stream)
        times = [t for packet in container.demux(stream) for _, t in decoder.decode(packet)]
    np.testing.assert_allclose(times, np.arange(60) / 30, atol=1.1e-3)


def test_a_recording_that_begins_later_has_no_more_frames(tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    with av.open(str(film(tmp_path / "a.mp4"))) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                later = round(3 / packet.time_base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                packet.stream = stream
                target.mux(packet)
    with VideoReader(late) as video:
        assert video.frames == len(list(video)) == 60


def test_uneven_times_with_reordered_frames_stay_those_of_the_file(tmp_path: Path) -> None:
    path, wanted = tmp_path / "uneven.mp4", [k * k / 1000 for k in range(40)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for k in range(40):
            frame = av.VideoFrame.from_ndarray(np.roll(texture(160, 96), 3 * k, 1), "bgr24")
            frame.pts, frame.time_base = k * k, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, times, words = read(path)
    np.testing.assert_allclose(times, wanted, atol=1e-6)
    assert words == ""


@pytest.mark.parametrize(("rate", "height"), [(25, 576), (Fraction(30_000, 1001), 480)])
def test_raw_dv_has_its_rate(tmp_path: Path, rate: Any, height: int) -> None:
    path = tmp_path / "tape.dv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("dvvideo", rate)
        stream.width, stream.height = 720, height
        stream.pix_fmt = "yuv420p" if height == 576 else "yuv411p"
        for k in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((height, 720, 3), 5 * k, np.uint8), "bgr24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with VideoReader(path) as video:
        assert (video.fps, video.frames) == (pytest.approx(float(rate)), 20)
        times = [seconds for _, seconds in video]
    np.testing.assert_allclose(times, np.arange(20) / float(rate), atol=1e-6)


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [
        (Fraction(2, 1), (96, 320)),
        (Fraction(4, 3), (96, 213)),
        (Fraction(1, 2), (192, 160)),
        (Fraction(1, 1), (96, 160)),
        (Fraction(200, 1), (96, 160)),  # a damaged header
    ],
)
def test_frames_have_square_pixels(
    tmp_path: Path, aspect: Fraction, shape: tuple[int, int]
) -> None:
    frames, _, _ = read(film(tmp_path / "anamorphic.mkv", 3, aspect=aspect))
    plain, _, _ = read(film(tmp_path / "plain.mkv", 3))
    assert frames[0].shape[:2] == shape
    # The image is stretched as a whole: its quarters keep their means.
    for rows, columns in ((slice(0, 2), slice(0, 2)), (slice(0, 2), slice(2, 4))):
        means = []
        for frame in (frames[0], plain[0]):
            h, w = frame.shape[0] // 4, frame.shape[1] // 4
            part = frame[rows.start * h : rows.stop * h, columns.start * w : columns.stop * w]
            means.append(part.mean())
        assert means[0] == pytest.approx(means[1], abs=2)


def test_tags_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi"):
        path = tmp_path / f"cafe{suffix}"
        with av.open(str(path), "w") as container:
            container.metadata["title"] = "Cafe'"
            stream = container.add_stream("mpeg4", 25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for k in range(4):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), k, np.uint8), "bgr24")
                frame.pts = k
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        path.write_bytes(path.read_bytes().replace(b"Cafe'", b"Caf\xe9 "))
        with pytest.raises(UnicodeDecodeError):
            av.open(str(path))
        assert len(read(path)[0]) == 4


FRAGMENTED = {"movflags": "+frag_keyframe+empty_moov+default_base_moof+global_sidx"}


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mpeg4", {}),
        ("b.avi", "libx264", {}),
        ("a.wmv", "wmv2", {}),
        ("a.flv", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "+faststart"}),
        ("a.mov", "libx264", {"movflags": "+faststart"}),
        ("fragmented.mp4", "libx264", FRAGMENTED),
        ("a.mpg", "mpeg2video", {}),
    ],
)
@pytest.mark.parametrize("share", [0.45, 0.8])
def test_cut_videos_are_noticed_and_whole_ones_are_not(
    tmp_path: Path, name: str, codec: str, layout: dict[str, str], share: float
) -> None:
    path = film(tmp_path / name, codec=codec, **layout)
    frames, _, words = read(path)
    assert (len(frames), words) == (60, "")
    frames, times, words = read(cut(path, share))
    assert 0 < len(frames) < 60
    assert "damaged or cut short" in words
    assert f"{len(frames)} frames" in words
    assert all(a <= b for a, b in pairwise(times))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_sound_that_lasts_longer_than_the_video_is_no_cut(tmp_path: Path, name: str) -> None:
    path = film(tmp_path / name, 30, sound_s=3)
    with av.open(str(path)) as container:
        assert container.duration > 2.9e6
    frames, _, words = read(path)
    assert (len(frames), words) == (30, "")


def test_a_cut_between_packets_of_a_windows_media_file(tmp_path: Path) -> None:
    """FFmpeg takes no length from a header that tells another size than the file's."""
    path = film(tmp_path / "a.wmv", codec="wmv2")
    data = path.read_bytes()
    start = data.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 50  # the data object
    packets = (len(data) - start) // 3200
    path.write_bytes(data[: start + packets // 2 * 3200])
    frames, _, words = read(path)
    assert 0 < len(frames) < 60
    assert "damaged or cut short" in words


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mpg", "mpeg2video"),
    ],
)
def test_from_damage_to_the_next_key_frame_all_is_failed(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = film(tmp_path / name, codec=codec)
    sound, _, _ = read(path)
    punch(path)
    items: list[Any] = []
    with VideoReader(path) as video, pytest.raises(InputError, match="damaged or cut short"):
        for item in video.with_damaged():
            items.append(item)
    failed = [k for k, (frame, _) in enumerate(items) if frame is None]
    assert failed
    # What is given is a frame of the sound file, but for two made up before FFmpeg says so.
    given = [frame for frame, _ in items if frame is not None]
    strange = [
        k
        for k, frame in enumerate(given)
        if min(np.abs(frame[::4, ::4].astype(int) - other[::4, ::4]).mean() for other in sound) > 3
    ]
    assert len(strange) <= 2
    assert items[-1][0] is not None  # the last group is sound again
    assert len(given) >= 40


@pytest.mark.parametrize("form", [".png", ".jpg", ".webp", ".bmp", ".avif", ".jp2"])
def test_an_image_is_no_video_under_any_name(tmp_path: Path, form: str) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(cv2.imencode(form, texture(64, 48))[1].tobytes())
    with pytest.raises(InputError, match=r"film\.mp4 is an image"):
        VideoReader(path)


def test_a_lost_piece_of_a_transport_stream(tmp_path: Path) -> None:
    """Its packets are whole, their counters tell that some are missing."""
    path = film(tmp_path / "a.ts", codec="mpeg2video", gop=1)
    data = path.read_bytes()
    half = len(data) // 188 // 2 * 188
    path.write_bytes(data[:half] + data[half + 5 * 188 :])
    assert "damaged or cut short" in read(path)[2]


def test_a_stream_joined_on_the_way_begins_with_its_first_key_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "a.ts", gop=20)
    with av.open(str(path)) as container:
        keys = [p.pos for p in container.demux(video=0) if p.is_keyframe and p.size]
    data = path.read_bytes()
    path.write_bytes(data[keys[0] // 188 * 188 + 40 * 188 :])
    frames, times, words = read(path)
    assert 20 <= len(frames) < 60
    assert times[0] == 0
    assert words == ""


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "size", "count", "last", "words"),
    [
        ("base.mp4", (480, 270), 45, 44 / 30, ""),
        ("mirrored_h.mp4", (480, 270), 45, 44 / 30, ""),
        ("cover_first.mp4", (480, 270), 45, 44 / 30, ""),
        ("h264_bframes.avi", (480, 270), 45, 44 / 30, ""),
        ("trimmed.mp4", (480, 270), 12, 11 / 30, ""),
        ("cut.mkv", (480, 270), 15, 14 / 30, "15 frames of it"),
        ("hole.mp4", (480, 270), 30, 44 / 30, "30 frames of it"),
        ("sar_2_1.mp4", (960, 540), 12, 11 / 30, ""),
        ("sar_1_1.mp4", (960, 540), 12, 11 / 30, ""),
    ],
)
def test_the_cases_of_real_files(
    shared: Path, name: str, size: tuple[int, int], count: int, last: float, words: str
) -> None:
    path = shared / "cases" / "video" / name
    frames, times, said = read(path)
    assert (frames[0].shape[1], frames[0].shape[0]) == size
    assert (len(frames), times[-1]) == (count, pytest.approx(last, abs=2e-3))
    assert words in said
    assert bool(words) == bool(said)
    with VideoReader(path) as video:
        assert video.fps == pytest.approx(30)
        assert video.frames == (45 if words else count)


@pytest.mark.shared
def test_a_mirrored_video_shows_what_the_other_one_shows(shared: Path) -> None:
    folder = shared / "cases" / "video"
    base, mirrored = (read(folder / name)[0] for name in ("base.mp4", "mirrored_h.mp4"))
    np.testing.assert_array_equal(mirrored[0], base[0][:, ::-1])
    square, wide = (read(folder / name)[0] for name in ("sar_1_1.mp4", "sar_2_1.mp4"))
    assert np.abs(square[0].astype(int) - wide[0]).mean() < 6
    assert np.abs(square[0].astype(int) - wide[0][:, ::-1]).mean() > 20


@pytest.mark.shared
def test_no_tile_of_a_heic_is_taken_for_the_image(shared: Path) -> None:
    for name in ("tiles.heic", "plain.heic", "plain.avif", "exif6.jfif"):
        with pytest.raises(InputError, match="is an image"):
            VideoReader(shared / "cases" / "pictures" / name)
