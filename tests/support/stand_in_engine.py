"""An engine on the emulated device: ONNX Runtime's CPU on that device's memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import emulated_cupy as cupy
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine


class StandInEngine(OnnxRuntimeEngine):
    """As a TensorRT engine: fixed buffers, work on a stream."""

    def __init__(
        self, model: str | Path, *, max_batch: int = 4, device: int = 0, capturable: bool = True
    ) -> None:
        super().__init__(model, device="cpu", threads=1)
        self.device, self.max_batch, self.capturable = device, max_batch, capturable
        self.bound: list[int] = []
        self.broken = False

    def bind(self, batch: int) -> StandInBinding:
        assert 1 <= batch <= self.max_batch
        self.bound.append(batch)
        return StandInBinding(self, batch)


class StandInBinding:
    def __init__(self, engine: StandInEngine, batch: int) -> None:
        width, height = engine.spec.input_size
        self.engine, self.capturable = engine, engine.capturable
        self.images = cupy.empty((batch, 3, height, width), np.float32)
        shapes = [o.shape for o in engine.run(np.zeros(self.images.shape, np.float32))]
        self.outputs: list[Any] = [cupy.empty(shape, np.float32) for shape in shapes]

    def enqueue(self, stream: int) -> None:
        current = cupy.cuda.get_current_stream()
        assert stream == current.ptr
        if self.engine.broken and current.recorded is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        cupy.submit(self._run)

    def _run(self) -> None:
        for output, value in zip(
            self.outputs, self.engine.run(np.asarray(self.images)), strict=True
        ):
            output[...] = value
