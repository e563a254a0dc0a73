"""Read network cameras and streams (RTSP, HTTP, RTMP, SRT, UDP) through FFmpeg's libraries."""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np
from av.error import FFmpegError

from pcr_rt.errors import InputError
from pcr_rt.media.urls import TIMEOUT_S, hide_password
from pcr_rt.media.video_decoder import Decoder, open_video
from pcr_rt.media.video_reader import DEFAULT_FPS, TURNS
from pcr_rt.streaming.sources import Item, Source

__all__ = ["NetworkSource"]

# UDP is RTSP's default and loses packets silently; buffering would add to the latency.
RTSP_OPTIONS = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}


class NetworkSource(Source):
    """Read a live stream behind a URL; lost after ``timeout_s`` without data, to be opened again.

    decoder: as for `pcr_rt.media.video_decoder.open_video`.
    """

    live = True
    reconnects = True

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, decoder: Decoder = "cpu") -> None:
        self._url = url
        self._decoder = decoder
        self._timeout_s = timeout_s
        self.name = f"stream {hide_password(url)}"

    def frames(self) -> Iterator[Item]:
        """Yield frames as they arrive; None for what cannot be decoded."""
        options = RTSP_OPTIONS if self._url.startswith("rtsp") else {"fflags": "nobuffer"}
        timeout = (self._timeout_s, self._timeout_s)
        try:
            container = open_video(
                self._url, self.name, self._decoder, options=options, timeout=timeout
            )
        except (FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"The {self.name} cannot be opened ({reason}): check the address and that it runs."
            ) from None
        with container:
            if not container.streams.video:
                raise InputError(f"The {self.name} has no video: give another address.")
            stream = container.streams.video[0]
            # Threads by frame would hold back as many frames as there are threads.
            if not getattr(stream.codec_context, "is_hwaccel", False):
                stream.thread_type = "SLICE"
            self.fps = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
            started = False
            try:
                for packet in container.demux(stream):
                    try:
                        decoded = stream.decode(packet)
                    except FFmpegError:
                        if started:  # a stream may be joined between two key frames
                            yield None, time.monotonic()
                        continue
                    for frame in decoded:
                        started = True
                        image = frame.to_ndarray(format="bgr24")
                        turn = round(frame.rotation / 90) % 4
                        upright = cv2.rotate(image, TURNS[turn]) if turn else image
                        yield np.asarray(upright, dtype=np.uint8), time.monotonic()
            except FFmpegError as error:
                raise InputError(
                    f"The {self.name} broke off ({error.strerror}): check the network."
                ) from None
