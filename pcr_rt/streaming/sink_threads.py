"""Run each sink in a thread of its own, so that a slow or broken one holds up nothing else."""

from __future__ import annotations

import logging
import queue
import threading
import time

from pcr_rt.errors import PoseError
from pcr_rt.streaming.results import Result, StageClock
from pcr_rt.streaming.sinks import Sink

__all__ = ["SinkThread"]

log = logging.getLogger(__name__)

QUEUE = 8
"""Results that a sink may be behind."""
POLL_S = 0.5
CLOSE_S = 30.0


class SinkThread:
    """Give results to a sink; error: why it stopped; missed: results it had no time for."""

    def __init__(self, sink: Sink, clock: StageClock) -> None:
        self.sink = sink
        self.error: BaseException | None = None
        self.missed = 0
        self._clock = clock
        self._queue: queue.Queue[Result | None] = queue.Queue(QUEUE)
        self.thread = threading.Thread(target=self._run, name=f"pcr-rt {sink.name}", daemon=True)

    def start(self) -> None:
        """Begin to take results."""
        self.thread.start()

    def offer(self, result: Result, *, wait: bool) -> None:
        """Hand over a result; if the sink is far behind, wait for it or leave the result out."""
        while self.error is None:
            try:
                self._queue.put(result, timeout=POLL_S if wait else 0)
                return
            except queue.Full:
                if not wait:
                    self._miss()
                    return

    def close(self) -> None:
        """Write what is left and finish; a sink that hangs is abandoned after `CLOSE_S`."""
        if not self.thread.is_alive():
            if self.thread.ident is None:  # never started
                self._finish()
            return
        try:
            self._queue.put(None, timeout=CLOSE_S)
        except queue.Full:
            log.error("The %s hangs and is left unfinished.", self.sink.name)
            return
        self.thread.join(CLOSE_S)

    def _miss(self) -> None:
        if self.missed == 0:
            log.warning("The %s is too slow for the stream: frames are left out.", self.sink.name)
        self.missed += 1

    def _run(self) -> None:
        while (result := self._queue.get()) is not None:
            if self.error is not None:
                continue
            start = time.perf_counter()
            try:
                self.sink.write(result)
            except BaseException as error:  # also sys.exit(), which would end the thread unseen
                self._fail(error)
                self._finish()
            self._clock.add({"write": (time.perf_counter() - start) * 1e3})
        if self.error is None:
            self._finish()

    def _finish(self) -> None:
        try:
            self.sink.close()
        except BaseException as error:
            if self.error is None:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        fault = None if isinstance(error, PoseError) else error
        log.error("The %s has stopped: %s", self.sink.name, error, exc_info=fault)
        self.error = error
