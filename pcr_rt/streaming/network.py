"""Read network cameras and streams (RTSP, HTTP, RTMP, SRT, UDP) through FFmpeg's libraries."""

from __future__ import annotations

import time
from collections.abc import Iterator

from av.error import FFmpegError

from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader
from pcr_rt.media.urls import TIMEOUT_S, hide_password
from pcr_rt.media.video_decoder import Decoder, open_video
from pcr_rt.media.video_frames import FrameDecoder, average_fps, choose_stream
from pcr_rt.streaming.sources import Item, Source

__all__ = ["NetworkSource"]

# UDP is RTSP's default and loses packets silently. FFmpeg's "nobuffer" would throw away what it
# reads to learn about the stream, and with it the key frame, so the first frame would come with the
# next one: after 25 s with some cameras.
RTSP_OPTIONS = {"rtsp_transport": "tcp", "flags": "low_delay"}


class NetworkSource(Source):
    """Read a live stream behind a URL; lost after ``timeout_s`` without data, to be opened again.

    What comes by HTTP and says how long it is, a recording or a finished playlist, is read as a
    video: every frame, once. decoder: as for `pcr_rt.media.video_decoder.open_video`.
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
        options = RTSP_OPTIONS if self._url.startswith("rtsp") else {}
        timeout = (self._timeout_s, self._timeout_s)
        try:
            container = open_video(
                self._url, self.name, self._decoder, options=options, timeout=timeout
            )
        except (FFmpegError, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"The {self.name} cannot be opened ({reason}): check the address and that it runs."
            ) from None
        with container:
            stream = choose_stream(container)
            if stream is None:
                raise InputError(f"The {self.name} has no video: give another address.")
            if not (self._url.startswith("http") and container.duration):
                # Threads by frame would hold back as many frames as there are threads.
                if not getattr(stream.codec_context, "is_hwaccel", False):
                    stream.thread_type = "SLICE"
                self.fps = average_fps(container, stream)
                decoder = FrameDecoder(stream)
                try:
                    for packet in container.demux(stream):
                        for frame, _ in decoder.decode(packet):
                            yield frame, time.monotonic()
                except FFmpegError as error:
                    raise InputError(
                        f"The {self.name} broke off ({error.strerror}): check the network."
                    ) from None
                return
        self.live = self.reconnects = False
        with VideoReader(self._url, decoder=self._decoder) as video:
            self.fps, self.total = video.fps, video.frames
            yield from video.with_damaged()
