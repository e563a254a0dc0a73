"""Frames: NumPy arrays, NV12 frames, and arrays on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError

__all__ = [
    "ArrayInterface",
    "CheckedFrames",
    "DeviceBuffer",
    "Nv12Coefficients",
    "Nv12Frame",
    "check_frame",
    "check_frames",
    "check_on_host",
    "device_interface",
    "frame_size",
    "lies_on_device",
]

ArrayInterface = Mapping[str, Any]
"""What ``__cuda_array_interface__`` gives: shape, typestr, data, and more."""
UINT8 = np.dtype(np.uint8)
CUDA_KINDS = (2, 13)
"""DLPack's numbers for CUDA memory, plain and managed."""


@dataclass(frozen=True)
class DeviceBuffer:
    """uint8 memory on a CUDA device that is only known by its address, as an array.

    pointer: as PyCUDA's DeviceAllocation gives it by ``int()``; shape: (H, W, 3) of a frame or
    (rows, columns) of an NV12 plane; pitch: bytes from a row to the next, None if there are no
    gaps; stream: the handle of the stream that fills it, None if it is ready; owner: kept alive.
    """

    pointer: int
    shape: tuple[int, ...]
    pitch: int | None = None
    stream: int | None = None
    owner: Any = None
    dtype = np.dtype(np.uint8)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        inner = (self.shape[2], 1) if len(self.shape) == 3 else (1,)
        return {
            "shape": self.shape,
            "typestr": "|u1",
            "data": (self.pointer, False),
            "strides": None if self.pitch is None else (self.pitch, *inner),
            "version": 3,
            "stream": self.stream,
        }


def device_interface(frame: Any) -> ArrayInterface | None:
    """Read a frame's CUDA array interface; None if it has none, as NumPy arrays and NV12 frames."""
    interface: ArrayInterface | None = getattr(frame, "__cuda_array_interface__", None)
    return interface


def lies_on_device(frame: Any) -> bool:
    """Tell whether a frame, or an NV12 frame's luma, is in a CUDA device's memory."""
    if isinstance(frame, Nv12Frame):
        return lies_on_device(frame.y)
    if device_interface(frame) is not None:
        return True
    return hasattr(frame, "__dlpack_device__") and frame.__dlpack_device__()[0] in CUDA_KINDS


def frame_size(frame: Any) -> tuple[int, int]:
    """Give (width, height)."""
    shape = getattr(frame, "shape", None) or frame.__cuda_array_interface__["shape"]
    return int(shape[1]), int(shape[0])


def check_frame(frame: Any, *, device: bool = False) -> ArrayInterface | None:
    """Raise InputError unless ``frame`` is HxWx3 uint8 with at least one pixel, or NV12.

    device: whether it may lie on a CUDA device. Returns the frame's CUDA array interface, if it has
    one: most libraries make it anew at each reading.
    """
    interface = device_interface(frame)
    there = interface is not None or lies_on_device(frame)
    if there and not device:
        check_on_host(frame)
    if isinstance(frame, Nv12Frame):
        if lies_on_device(frame.uv) != there:
            raise InputError("One plane of the NV12 frame lies on a device and one on the host.")
        if not there and not all(isinstance(p, np.ndarray) for p in (frame.y, frame.uv)):
            raise InputError("The planes of an NV12 frame on the host must be NumPy arrays.")
        return None
    if not there and not isinstance(frame, np.ndarray):
        raise InputError(f"A frame must be a NumPy array, not {type(frame).__name__}.")
    if interface is None:
        shape, dtype = tuple(frame.shape), frame.dtype
    else:
        shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        raise InputError(
            "The frame is grey: convert it with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)."
        )
    if len(shape) == 3 and shape[2] == 4:
        raise InputError(
            "The frame has four channels: convert it with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)."
        )
    if len(shape) != 3 or shape[2] != 3:
        raise InputError(f"A frame has shape (height, width, 3), not {shape}.")
    if dtype != UINT8 and (name := str(dtype).rpartition(".")[2]) != "uint8":
        raise InputError(f"The frame's dtype is {name}: give uint8 with grey levels 0 to 255.")
    if 0 in shape:
        raise InputError(f"The frame is empty, its shape is {shape}.")
    return interface


def check_on_host(frame: Any) -> None:
    """Raise InputError if ``frame`` lies on a CUDA device."""
    if lies_on_device(frame):
        raise InputError(
            "The frame lies on a CUDA device, but the models run on the CPU: give a NumPy array, or"
            " models that run on that device."
        )


class CheckedFrames(list[Any]):
    """Frames that `check_frame` has let pass, so that nobody has to check them again.

    interfaces: what it returned of each; None of all unless given, as of frames on the host.
    """

    def __init__(
        self, frames: Iterable[Any], interfaces: Sequence[ArrayInterface | None] | None = None
    ) -> None:
        super().__init__(frames)
        self.interfaces = [None] * len(self) if interfaces is None else interfaces


def check_frames(frames: Iterable[Any], *, device: bool = False) -> CheckedFrames:
    """Check each frame, unless they are `CheckedFrames`. Raises what `check_frame` does."""
    if isinstance(frames, CheckedFrames):
        return frames
    checked = list(frames)
    return CheckedFrames(checked, [check_frame(frame, device=device) for frame in checked])


_RED_AND_BLUE = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Weights of red and blue in luma (ITU-R BT.601 and BT.709); green has the rest."""


class Nv12Coefficients(NamedTuple):
    """Grey levels: luma (Y - black) + a colour's factors times (U - 128) and (V - 128)."""

    luma: float
    black: float
    red_v: float
    green_u: float
    green_v: float
    blue_u: float


@dataclass(frozen=True)
class Nv12Frame:
    """An NV12 image of HxW pixels, on the host or a device.

    y: (H, W) uint8; uv: (ceil(H / 2), 2 ceil(W / 2)) uint8, U and V in turn. Rows may lie further
    apart than they are long (a decoder's pitch): a view such as ``surface[:H, :W]`` says so. Pixels
    take the chroma sample of their 2x2 block, and grey levels are cut to 0..255, not rounded.
    Raises InputError for planes that do not fit together.
    """

    y: Any
    uv: Any
    matrix: Literal["bt601", "bt709"] = "bt601"
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.matrix not in _RED_AND_BLUE:
            raise InputError(f"The NV12 matrix is {self.matrix!r}; use 'bt601' or 'bt709'.")
        for plane in (self.y, self.uv):
            if (
                len(plane.shape) != 2
                or str(plane.dtype).rpartition(".")[2] != "uint8"
                or 0 in plane.shape
            ):
                raise InputError(
                    f"An NV12 plane is two-dimensional uint8, not {plane.dtype} of shape "
                    f"{tuple(plane.shape)}."
                )
        height, width = self.y.shape
        expected = ((height + 1) // 2, (width + 1) // 2 * 2)
        if tuple(self.uv.shape) != expected:
            raise InputError(
                f"The UV plane of a {width}x{height} NV12 frame has shape {expected}, not "
                f"{tuple(self.uv.shape)}."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Give (H, W, 3), as of the BGR frame that it stands for."""
        height, width = self.y.shape
        return int(height), int(width), 3

    @property
    def coefficients(self) -> Nv12Coefficients:
        """Give the factors that turn its Y, U and V into grey levels."""
        red, blue = _RED_AND_BLUE[self.matrix]
        green = 1 - red - blue
        luma, black, chroma = (1.0, 0, 1.0) if self.full_range else (255 / 219, 16, 255 / 224)
        red_v, blue_u = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
        return Nv12Coefficients(
            luma, black, red_v, -blue_u * blue / green, -red_v * red / green, blue_u
        )

    def to_bgr(self) -> NDArray[np.float32]:
        """Convert to (H, W, 3) in BGR order, float32; the planes have to be NumPy arrays."""
        c = self.coefficients
        height, width = self.y.shape
        luma = np.float32(c.luma) * (self.y.astype(np.float32) - np.float32(c.black))
        chroma = self.uv.astype(np.float32) - np.float32(128)
        # Each chroma sample serves 2x2 pixels.
        u, v = (
            chroma[:, first::2].repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]
            for first in (0, 1)
        )
        blue = luma + np.float32(c.blue_u) * u
        green = luma + np.float32(c.green_u) * u + np.float32(c.green_v) * v
        red = luma + np.float32(c.red_v) * v
        bgr: NDArray[np.float32] = np.stack([blue, green, red], axis=-1).clip(0, 255)
        return bgr
