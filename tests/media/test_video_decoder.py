"""Which decoder opens a video: NVDEC's place is taken by the CPU's here, the same on a GPU."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader, video_decoder
from pcr_rt.media.video_decoder import has_nvdec, open_video
from pcr_rt.streaming.open import open_source
from pcr_rt.streaming.sources import VideoSource

pytest.importorskip("av.codec.hwaccel", reason="PyAV before 14 has no NVDEC")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A driver with NVDEC that is really the CPU; what was opened how, in turn."""
    found: list[str] = []
    real_open, real_library = av.open, ctypes.CDLL

    def open_(url: str, *args: Any, hwaccel: Any = None, **options: Any) -> Any:
        found.append(hwaccel or "cpu")
        return real_open(url, *args, **options)

    def library(name: str, *args: Any) -> Any:
        return None if name in ("libcuda.so.1", "libnvcuvid.so.1") else real_library(name, *args)

    monkeypatch.setattr(av, "open", open_)
    monkeypatch.setattr(video_decoder.ctypes, "CDLL", library)
    monkeypatch.setattr(video_decoder, "_nvdec", lambda: "cuda")
    return found


@pytest.mark.parametrize(("decoder", "way"), [("cpu", "cpu"), ("nvdec", "cuda"), ("auto", "cuda")])
def test_the_decoder_that_was_chosen(
    opened: list[str],
    sample_clip: Path,
    caplog: pytest.LogCaptureFixture,
    decoder: Any,
    way: str,
) -> None:
    with caplog.at_level(logging.INFO, "pcr_rt"), VideoReader(sample_clip, decoder=decoder) as clip:
        frame, seconds = next(iter(clip))
    assert opened == [way]
    assert (frame.shape, seconds) == ((clip.size[1], clip.size[0], 3), 0)
    assert ("by NVDEC" in caplog.text) == (way == "cuda")


def test_sources_hand_it_on(opened: list[str], sample_clip: Path) -> None:
    for decoder, way in (("nvdec", "cuda"), (None, "cpu")):
        frames = open_source(sample_clip, decoder=decoder).frames()  # type: ignore[arg-type]
        assert next(frames)[0] is not None
        frames.close()  # type: ignore[attr-defined]
        assert opened.pop() == way
    with pytest.raises(InputError, match="cannot be opened"):
        next(open_source("rtsp://127.0.0.1:1/", decoder="auto").frames())
    assert opened == ["cuda", "cpu"]
    assert isinstance(open_source("http://host/a.mp4", decoder="auto"), VideoSource)
    with pytest.raises(InputError, match="decoder cannot be chosen for the camera 0"):
        open_source(0, decoder="nvdec")


def test_without_a_gpu_nvdec_is_an_error_and_auto_the_cpu(
    sample_clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if has_nvdec():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=r"NVDEC cannot decode the video walk.mp4 \(.+\): take"):
        VideoReader(sample_clip, decoder="nvdec")
    with caplog.at_level(logging.INFO, "pcr_rt"), VideoReader(sample_clip, decoder="auto") as clip:
        assert next(iter(clip))[1] == 0
    assert "decoded on the CPU, not by NVDEC: the driver's libnvcuvid" in caplog.text


def test_a_driver_whose_nvdec_refuses_is_no_end_for_auto(
    sample_clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if has_nvdec():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(video_decoder, "has_nvdec", lambda: True)  # FFmpeg finds that it has none
    with caplog.at_level(logging.INFO, "pcr_rt"):
        open_video(str(sample_clip), "clip", "auto").close()
    assert "The clip is decoded on the CPU, not by NVDEC: Operation not permitted" in caplog.text


@pytest.mark.parametrize("decoder", ["cpu", "nvdec", "auto"])
def test_a_video_that_is_not_there_is_the_videos_fault(decoder: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be opened .*No such file"):
        VideoReader(tmp_path / "none.mp4", decoder=decoder)


def test_other_decoders_are_refused(sample_clip: Path) -> None:
    with pytest.raises(InputError, match="decoder is 'vaapi': give 'cpu', 'nvdec', 'auto'"):
        VideoReader(sample_clip, decoder="vaapi")  # type: ignore[arg-type]


@pytest.mark.gpu
def test_frames_are_those_of_the_cpu(sample_clip: Path) -> None:
    with (
        VideoReader(sample_clip, decoder="nvdec") as found,
        VideoReader(sample_clip) as expected,
    ):
        pairs = list(zip(found, expected, strict=True))
    assert len(pairs) > 10
    for (frame, seconds), (other, time) in pairs:
        assert seconds == pytest.approx(time)
        # H.264 decoders agree to the bit; chroma is put in its place by another path.
        assert np.abs(frame.astype(int) - other).mean() < 1
