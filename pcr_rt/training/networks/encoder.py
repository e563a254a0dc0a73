"""What every encoder says of its features, and which input sizes suit it."""

from __future__ import annotations

from torch import Tensor, nn

from pcr_rt.errors import DataError
from pcr_rt.geometry import Size

__all__ = ["Encoder", "check_input_size"]


class Encoder(nn.Module):
    """Images (N, 3, H, W) -> features (N, channels, H / stride, W / stride).

    H and W are multiples of ``divisor``, the stride of the coarsest features inside, which may be
    larger than that of the result. Other sizes fail, or shift the features against the image.
    ``map_channels``: of encoders that also give their features at several resolutions (`maps`).
    """

    channels: int
    stride: int
    divisor: int = 32
    map_channels: tuple[int, ...] = ()

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the features from stride 4 on, each map half as large as the one before."""
        raise TypeError(f"{type(self).__name__} gives features of one resolution only")


def check_input_size(network: nn.Module, size: Size) -> None:
    """Raise DataError unless the encoder of ``network`` takes images of ``size`` = (w, h)."""
    divisor: int = network.get_submodule("encoder").divisor  # type: ignore[assignment]
    if min(size) < divisor or any(side % divisor for side in size):
        width, height = (max(round(side / divisor), 1) * divisor for side in size)
        raise DataError(
            f"The input size {size[0]}x{size[1]} (w x h) does not suit the network: both sides must"
            f" be multiples of {divisor}, for example {width}x{height}."
        )
