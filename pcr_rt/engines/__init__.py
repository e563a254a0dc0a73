"""Engines run one network each: a protocol for the host, one for the device, a file an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from pcr_rt.models import ModelSpec

__all__ = ["Binding", "DeviceEngine", "Engine"]


@runtime_checkable
class Engine(Protocol):
    """Runs one network, also from several threads; ``spec`` says how to feed and read it."""

    spec: ModelSpec

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute the outputs for a batch of images (N, 3, H, W), each (N, ...)."""

    def close(self) -> None:
        """Give back what the engine holds; it cannot run afterwards."""


class Binding(Protocol):
    """Buffers of one batch size on the device, which stay where they are; for one thread.

    ``images`` (N, 3, H, W) and ``outputs`` (N, ...) are device arrays with
    ``__cuda_array_interface__``; ``capturable`` says whether `enqueue` may be recorded in a graph.
    """

    images: Any
    outputs: Sequence[Any]
    capturable: bool

    def enqueue(self, stream: int) -> None:
        """Start the network on the handle of a stream; nothing waits for the device."""


@runtime_checkable
class DeviceEngine(Engine, Protocol):
    """An engine that reads and writes the memory of the CUDA device number ``device``."""

    device: int
    max_batch: int

    def bind(self, batch: int) -> Binding:
        """Make buffers for ``batch`` images, 1 to ``max_batch``, with a context of their own."""
