"""Engines: one protocol, one file an engine."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from pcr_rt.models import ModelSpec

__all__ = ["Engine"]


@runtime_checkable
class Engine(Protocol):
    """Runs one network, also from several threads; ``spec`` says how to feed and read it."""

    spec: ModelSpec

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Outputs for a batch of images (N, 3, H, W), each with N as its first dimension."""

    def close(self) -> None:
        """Give back what the engine holds; it cannot run afterwards."""
