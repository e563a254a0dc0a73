"""Short films of a moving texture in any container and codec."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader


def texture(width: int, height: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return noise.repeat(8, axis=0).repeat(8, axis=1)


def film(
    path: Path,
    count: int = 60,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (160, 96),
    gop: int = 20,
    aspect: Fraction | None = None,
    cover: bool = False,
    sound_s: float = 0,
    **layout: str,
) -> Path:
    """A moving texture at 30 a second, its frame k shifted by (3 k, 2 k)."""
    base = texture(*size)
    with av.open(str(path), "w", options=layout) as container:
        if cover:
            image = container.add_stream("mjpeg", 1)
            image.width, image.height, image.pix_fmt = 320, 320, "yuvj420p"
        stream = container.add_stream(codec, 30)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec != "dvvideo":
            stream.codec_context.gop_size = gop
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        sound: Any = container.add_stream("aac", 48_000) if sound_s else None
        if cover:
            white = np.full((320, 320, 3), 255, np.uint8)
            container.mux(image.encode(av.VideoFrame.from_ndarray(white, format="bgr24")))
            container.mux(image.encode(None))
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(np.roll(base, (2 * k, 3 * k), (0, 1)), "bgr24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for k in range(round(sound_s * 48_000 / 1024)):
            samples = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp")
            samples.rate, samples.pts = 48_000, 1024 * k
            container.mux(sound.encode(samples))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def read(path: Path) -> tuple[list[NDArray[np.uint8]], list[float], str]:
    """Sound frames, their times, and what is said at the end."""
    frames, times = [], []
    with VideoReader(path) as video:
        try:
            for frame, seconds in video:
                frames.append(frame)
                times.append(seconds)
        except InputError as error:
            return frames, times, str(error)
    return frames, times, ""
