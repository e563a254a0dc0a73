"""Frames as video decoders give them: a plane of luma, a quarter-size plane of U and V in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError

__all__ = ["Nv12Coefficients", "Nv12Frame"]

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
    """An NV12 picture of HxW pixels, on the host or a device.

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
        """(H, W, 3), as of the BGR frame that it stands for."""
        height, width = self.y.shape
        return int(height), int(width), 3

    @property
    def coefficients(self) -> Nv12Coefficients:
        """How its Y, U and V become grey levels."""
        red, blue = _RED_AND_BLUE[self.matrix]
        green = 1 - red - blue
        luma, black, chroma = (1.0, 0, 1.0) if self.full_range else (255 / 219, 16, 255 / 224)
        red_v, blue_u = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
        return Nv12Coefficients(
            luma, black, red_v, -blue_u * blue / green, -red_v * red / green, blue_u
        )

    def to_bgr(self) -> NDArray[np.float32]:
        """The frame (H, W, 3) in BGR order, float32; the planes have to be NumPy arrays."""
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
