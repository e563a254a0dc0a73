"""Work on the device whose buffers stay where they are: run launch by launch, then as a graph."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

from pcr_rt.cuda_kernels import kernels
from pcr_rt.engines import Binding

__all__ = ["Plan", "bucket"]

log = logging.getLogger(__name__)


def bucket(count: int, most: int) -> int:
    """The next power of two, at most ``most``."""
    return min(1 << (count - 1).bit_length(), most)


class Plan:
    """Runs `work` on the current stream: launch by launch at first, then as a graph."""

    def __init__(self, stream: Any, bindings: Sequence[Binding], *, record: bool) -> None:
        self._stream = stream
        self._pool = kernels.cupy().cuda.MemoryPool()
        self._record = record and all(b.capturable for b in bindings)
        self._graph: Any = None
        self._ran = False
        self._marks: list[tuple[str, Any]] | None = None
        self.times: dict[str, float] = {}
        """Milliseconds of each stage of the last run; a graph's are all ``infer``."""

    def work(self) -> None:
        """Queue everything on the current stream."""
        raise NotImplementedError

    def run(self) -> None:
        """Do the work and wait for it: the one synchronisation."""
        if self._record and self._ran and self._graph is None:
            self._capture()
        self._marks = []
        self.mark("start")
        if self._graph is not None:
            self._graph.launch()
            self.mark("infer")
        else:
            with kernels.memory_of(self._pool):
                self.work()
        self._ran = True
        self._stream.synchronize()
        self.times = _elapsed(self._marks)
        self._marks = None

    def mark(self, stage: str) -> None:
        """What was queued since the last mark belongs to ``stage``."""
        if self._marks is not None:
            event = kernels.cupy().cuda.Event()
            event.record(self._stream)
            self._marks.append((stage, event))

    def _capture(self) -> None:
        try:
            self._graph = kernels.Graph(self.work, self._pool)
        except Exception as error:  # the driver, CuPy and engines each have their own classes
            self._record = False
            reason = " ".join(str(error).split())[:200]
            log.warning("No CUDA graph here, launches go on one by one: %s", reason)


def _elapsed(marks: Sequence[tuple[str, Any]]) -> dict[str, float]:
    """Milliseconds of each stage, from the mark before to its own."""
    times: dict[str, float] = {}
    for (_, before), (stage, event) in itertools.pairwise(marks):
        milliseconds = kernels.cupy().cuda.get_elapsed_time(before, event)
        times[stage] = times.get(stage, 0.0) + milliseconds
    return times
