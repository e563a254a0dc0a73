"""Curves and sample predictions for TensorBoard, if it is installed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Monitor"]

log = logging.getLogger(__name__)

EVERY = 10
"""Steps from one point of a curve to the next."""


class Monitor:
    """Writes to ``folder/tensorboard``; silent if not ``active`` or without tensorboard."""

    def __init__(self, folder: Path, active: bool = True) -> None:
        self._writer: Any = None
        if not active:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("no curves are written: pip install tensorboard")
            return
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def step(self, step: int, **values: float) -> None:
        """Add a point to each curve, every tenth step."""
        if self._writer is not None and step % EVERY == 0:
            for name, value in values.items():
                self._writer.add_scalar(f"train/{name}", value, step)

    def validation(
        self, step: int, metric: str, value: float, image: NDArray[np.uint8] | None
    ) -> None:
        """Add the value of the metric, and a BGR image of sample predictions."""
        if self._writer is None:
            return
        self._writer.add_scalar(f"validation/{metric}", value, step)
        if image is not None:
            rgb = np.ascontiguousarray(image[..., ::-1])
            self._writer.add_image("validation/poses", rgb, step, dataformats="HWC")

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.close()
