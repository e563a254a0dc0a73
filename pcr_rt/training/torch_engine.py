"""A torch network behind the engine protocol, so that training is judged by the runtime's code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pcr_rt.geometry import Size
from pcr_rt.models import ModelSpec

__all__ = ["TorchDeviceEngine", "TorchEngine"]


class TorchEngine:
    """Runs ``network`` on the device where its parameters are."""

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        self.network, self.spec = network, spec
        self._device = next(network.parameters()).device

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the last level's heatmaps (N, 17, h, w) of images (N, 3, H, W)."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
            maps = self.network(batch.to(self._device)).levels[-1]
        return [maps.float().cpu().numpy()]

    def close(self) -> None:
        """Do nothing: the network belongs to the caller."""


class TorchDeviceEngine(TorchEngine):
    """The same for the estimator's device path, for development; the network lies on CUDA."""

    def __init__(self, network: nn.Module, spec: ModelSpec, *, max_batch: int = 16) -> None:
        super().__init__(network, spec)
        self.device, self.max_batch = self._device.index or 0, max_batch

    def bind(self, batch: int) -> TorchBinding:
        """Make buffers for ``batch`` images, 1 to ``max_batch``."""
        return TorchBinding(self.network, self.spec.input_size, batch, self._device)


class TorchBinding:
    """Images (N, 3, H, W) and heatmaps (N, 17, h, w), float32, that stay where they are.

    Not recorded in graphs: torch's allocator would have to know of the recording.
    """

    capturable = False

    def __init__(self, network: nn.Module, size: Size, batch: int, device: torch.device) -> None:
        self._network = network
        self.images = torch.zeros(batch, 3, size[1], size[0], device=device)
        with torch.inference_mode():
            maps = network(self.images).levels[-1]
        # Not made in inference mode, so that they may be written to outside of it.
        self.outputs = [torch.empty(maps.shape, device=device)]
        if device.type == "cuda":  # another stream writes to them next
            torch.cuda.synchronize(device)

    def enqueue(self, stream: int) -> None:
        """Start the network on the handle of a stream."""
        there = torch.cuda.ExternalStream(stream, device=self.images.device)  # type: ignore[no-untyped-call]
        with torch.inference_mode(), torch.cuda.stream(there):
            self.outputs[0].copy_(self._network(self.images).levels[-1])
