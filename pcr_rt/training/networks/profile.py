"""Parameters and multiply-adds of the presets: ``python -m pcr_rt.training.networks.profile``."""

from __future__ import annotations

import copy
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

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
    """Count the numbers that the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, size: tuple[int, int]) -> int:
    """Count the multiply-adds of one image of ``size`` (w, h) in evaluation mode.

    Convolutions, deconvolutions and linear layers count, without their biases; sums, products,
    norms, activations and interpolation, which cost a few operations per element, are left out.
    Nothing is computed: the count follows the shapes.
    """
    return _trace(network, size)[0]


def table() -> str:
    """Write the presets as a Markdown table."""
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
    shapes_only = copy.deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        maps = shapes_only(torch.zeros(1, 3, size[1], size[0], device="meta"))
    # It counts a multiplication and an addition as one operation each, and no biases.
    return counter.get_total_flops() // 2, maps


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
