"""Parameters and multiply-adds of the presets: ``python -m pcr_rt.training.networks.profile``."""

from __future__ import annotations

import copy
import math
import sys

import torch
from torch import Tensor, nn

from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.networks.registry import PRESETS, build

__all__ = ["count_macs", "count_parameters", "table"]

_SMALL, _LARGE = (192, 256), (288, 384)
# Input sizes (w, h) at which each preset is used.
_SIZES = {
    "pcr-r50": (_SMALL,),
    "pcr-r152": (_LARGE,),
    "pcr-w32": (_SMALL,),
    "pcr-w48": (_LARGE,),
    "pcr-tiny": (_SMALL,),
    "pcr-nano": ((96, 128),),
    "pcr-mobilenet": (_SMALL,),
    "baseline-r50": (_SMALL, _LARGE),
    "baseline-r152": (_SMALL, _LARGE),
    "hrnet-w32": (_SMALL, _LARGE),
    "hrnet-w48": (_SMALL, _LARGE),
}


def count_parameters(network: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-adds of one picture of ``size`` (w, h) in evaluation mode.

    Counts convolutions, deconvolutions and linear layers; sums, products, norms, activations and
    interpolation, which cost a few operations an element, are left out. Nothing is computed: the
    count follows the shapes.
    """
    return _trace(network, size)[0]


def table() -> str:
    """The presets as a Markdown table."""
    lines = [
        "| preset | encoder (stride) | decoder | K, L | C_k | input (h x w) | heatmaps (h x w) "
        "| parameters (M) | GMAC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        with torch.device("meta"):
            network = build(name).eval()
        channels = preset.get("channels")
        shape = f"{len(channels)}, {preset['levels']}" if channels else "-"
        widths = " ".join(map(str, channels)) if channels else "-"
        for width, height in _SIZES[name]:
            macs, maps = _trace(network, (width, height))
            lines.append(
                f"| {name} | {preset['encoder']} ({network.get_submodule('encoder').stride}) "
                f"| {preset['decoder']} | {shape} | {widths} | {height}x{width} "
                f"| {maps.levels[-1].shape[2]}x{maps.levels[-1].shape[3]} "
                f"| {count_parameters(network) / 1e6:.2f} | {macs / 1e9:.2f} |"
            )
    return "\n".join(lines)


def _trace(network: nn.Module, size: tuple[int, int]) -> tuple[int, PoseMaps]:
    """Multiply-adds of a pass that follows shapes only, and what the network returns."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.ConvTranspose2d):
            # Each input value meets the kernel of every output channel of its group.
            per_value = module.out_channels // module.groups * math.prod(module.kernel_size)
            total += inputs[0].numel() * per_value
        elif isinstance(module, nn.Conv2d):
            per_value = module.in_channels // module.groups * math.prod(module.kernel_size)
            total += output.numel() * per_value

    shapes_only = copy.deepcopy(network).to("meta").eval()
    for module in shapes_only.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        maps = shapes_only(torch.zeros(1, 3, size[1], size[0], device="meta"))
    return total, maps


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
