"""Which decoder opens a video: FFmpeg's on the CPU, or NVDEC through FFmpeg's CUDA device."""

from __future__ import annotations

import ctypes
import logging
from typing import Any, Literal, get_args

import av
from av.error import FFmpegError

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.media.video_frames import choose_stream

__all__ = ["DECODERS", "Decoder", "has_nvdec", "open_video"]

log = logging.getLogger(__name__)

Decoder = Literal["cpu", "nvdec", "auto"]
DECODERS: tuple[Decoder, ...] = get_args(Decoder)


def open_video(url: str, name: str, decoder: Decoder = "cpu", **options: Any) -> Any:
    """Open a file or URL, which messages call ``name``, as a PyAV container.

    decoder: ``cpu``; ``nvdec``, whose frames come back to the host; ``auto``, NVDEC if the driver
    has it and it takes the video, else the CPU, as a line in the log says. options: for
    ``av.open``. Raises InputError for another decoder, if NVDEC was asked for and cannot decode
    this, and if nothing here can, and FFmpegError if there is no such video.
    """
    options["metadata_errors"] = "replace"  # a tag that is not UTF-8 says nothing of the video
    if decoder not in DECODERS:
        raise InputError(f"decoder is {decoder!r}: give {', '.join(map(repr, DECODERS))}.")
    if decoder == "cpu":
        return _decodable(av.open(url, **options), name)
    problem = "the driver's libnvcuvid.so.1 is not there"
    if decoder == "nvdec" or has_nvdec():
        try:
            container = _decodable(av.open(url, hwaccel=_nvdec(), **options), name)
            log.info("The %s is decoded by NVDEC", name)
            return container
        except (FFmpegError, MissingDependencyError) as error:
            problem = str(getattr(error, "strerror", None) or error)
    # What is wrong with the video itself is raised here.
    container = _decodable(av.open(url, **options), name)
    if decoder == "nvdec":
        container.close()
        raise InputError(
            f"NVDEC cannot decode the {name} ({problem}): take the decoder 'cpu', or 'auto'."
        )
    log.info("The %s is decoded on the CPU, not by NVDEC: %s", name, problem)
    return container


def _decodable(container: Any, name: str) -> Any:
    stream = choose_stream(container)
    if stream is not None and stream.codec_context is None:
        container.close()
        raise InputError(
            f"The {name} has a codec that FFmpeg does not know here: convert it to H.264, or let"
            " the camera send that."
        )
    return container


def has_nvdec() -> bool:
    """Tell whether NVIDIA's driver with its video decoder and a PyAV that can use it are there."""
    try:
        _nvdec()
        for library in ("libcuda.so.1", "libnvcuvid.so.1"):
            ctypes.CDLL(library)
    except (OSError, MissingDependencyError):
        return False
    return True


def _nvdec() -> Any:
    try:
        from av.codec.hwaccel import HWAccel, hwdevices_available
    except ImportError:
        raise MissingDependencyError("PyAV before 14 has no NVDEC: pip install -U av") from None
    if "cuda" not in hwdevices_available():
        raise MissingDependencyError("this build of PyAV has no CUDA: take PyPI's") from None
    return HWAccel("cuda", allow_software_fallback=False)
