"""Which decoder opens a video: FFmpeg's on the CPU, or NVDEC through FFmpeg's CUDA device."""

from __future__ import annotations

import ctypes
import logging
from typing import Any, Literal, get_args

import av
from av.error import FFmpegError

from pcr_rt.errors import InputError, MissingDependencyError

__all__ = ["DECODERS", "Decoder", "has_nvdec", "open_video"]

log = logging.getLogger(__name__)

Decoder = Literal["cpu", "nvdec", "auto"]
DECODERS: tuple[Decoder, ...] = get_args(Decoder)


def open_video(url: str, name: str, decoder: Decoder = "cpu", **options: Any) -> Any:
    """The PyAV container of a file or URL, which messages call ``name``.

    decoder: ``cpu``; ``nvdec``, whose pictures come back to the host; ``auto``, NVDEC where the
    driver has it and it takes the video, else the CPU, as a line in the log says. options: for
    ``av.open``. Raises InputError for another decoder and where NVDEC was asked for and cannot
    decode this, and FFmpegError where there is no such video.
    """
    if decoder not in DECODERS:
        raise InputError(f"decoder is {decoder!r}: give {', '.join(map(repr, DECODERS))}.")
    if decoder == "cpu":
        return av.open(url, **options)
    problem = "the driver's libnvcuvid.so.1 is not there"
    if decoder == "nvdec" or has_nvdec():
        try:
            container = av.open(url, hwaccel=_nvdec(), **options)
            log.info("The %s is decoded by NVDEC", name)
            return container
        except (FFmpegError, MissingDependencyError) as error:
            problem = str(getattr(error, "strerror", None) or error)
    container = av.open(url, **options)  # what is wrong with the video itself is raised here
    if decoder == "nvdec":
        container.close()
        raise InputError(
            f"NVDEC cannot decode the {name} ({problem}): take the decoder 'cpu', or 'auto'."
        )
    log.info("The %s is decoded on the CPU, not by NVDEC: %s", name, problem)
    return container


def has_nvdec() -> bool:
    """Whether NVIDIA's driver with its video decoder is there, and a PyAV that can use it."""
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
