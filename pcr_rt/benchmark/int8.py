"""What INT8 costs on this processor, beside FP32."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from pcr_rt.benchmark.turns import in_turns, ratios
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.models import DEFAULT_MODEL

__all__ = ["int8_cost"]

ROUNDS = 9


def int8_cost() -> dict[str, float]:
    """Measure how long the default model takes in INT8, as a ratio to FP32 (see `spread`).

    One crop on one thread of the CPU, in turns, by the thread's own clock, so that other work on
    the machine does not count. It takes a second. Raises ModelError if a file is broken.
    """
    with ExitStack() as stack:
        calls: dict[str, Any] = {}
        for precision in ("fp32", "int8"):
            engine = OnnxRuntimeEngine(DEFAULT_MODEL, device="cpu", precision=precision, threads=1)
            stack.callback(engine.close)
            width, height = engine.spec.input_size
            crop = np.random.default_rng(0).random((1, 3, height, width), np.float32)
            calls[precision] = partial(_run, engine, crop)
        in_turns(calls, range(2))
        took = in_turns(calls, range(ROUNDS), clock=time.thread_time)
    return ratios(took["int8"], took["fp32"])


def _run(engine: OnnxRuntimeEngine, crop: Any, _: int) -> None:
    engine.run(crop)
