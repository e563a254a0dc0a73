"""A torch network behind the engine protocol, so that training is judged by the runtime's code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pcr_rt.geometry import Size
from pcr_rt.models import ModelSpec

__all__ = ["TorchEngine", "heatmap_size"]


class TorchEngine:
    """Runs ``network`` on the device where its parameters are."""

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        self.network, self.spec = network, spec
        self._device = next(network.parameters()).device

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """The last level's heatmaps (N, 17, h, w) of images (N, 3, H, W)."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
            maps = self.network(batch.to(self._device)).levels[-1]
        return [maps.float().cpu().numpy()]

    def close(self) -> None:
        """Nothing to give back: the network belongs to the caller."""


def heatmap_size(network: nn.Module, size: Size) -> Size:
    """(w, h) of the maps that a network in evaluation mode gives for an input ``size`` (w, h)."""
    device = next(network.parameters()).device
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, size[1], size[0], device=device)).levels[-1]
    return maps.shape[-1], maps.shape[-2]
