"""What a build of minutes is doing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pcr_rt.engines.tensorrt_api import Api, Journal

__all__ = ["Progress", "ProgressCallback"]

ProgressCallback = Callable[[str, int, int | None], None]
"""Takes a phase, the steps done and their number; None: unknown, steps are then seconds."""


class Progress:
    """Reports a build's phases, by IProgressMonitor where it exists, else by the logger's lines."""

    def __init__(self, api: Api, config: Any, journal: Journal, report: ProgressCallback) -> None:
        self._report, self._journal = report, journal
        self._steps: dict[str, int] = {}
        self._start = time.monotonic()
        self.stopped: BaseException | None = None
        if hasattr(api.module, "IProgressMonitor"):
            config.progress_monitor = self._monitor = _make_monitor(api.module, self)
        else:
            journal.listener = lambda line: report(line, int(time.monotonic() - self._start), None)

    def done(self) -> None:
        """Listen no longer; raises what stopped the build, such as KeyboardInterrupt."""
        self._journal.listener = None
        if self.stopped is not None:
            raise self.stopped

    def begin(self, phase: str, steps: int) -> None:
        """A phase of so many steps begins."""
        self._steps[phase] = steps
        self.step(phase, 0)

    def step(self, phase: str, done: int) -> bool:
        """Tell what is done; False asks TensorRT to stop, since it cannot pass exceptions on."""
        try:
            self._report(phase, done, self._steps.get(phase))
        except BaseException as error:
            self.stopped = error
        return self.stopped is None


def _make_monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.begin(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step + 1)

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()
