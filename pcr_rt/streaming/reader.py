"""Read each source in a thread of its own: reconnect, and keep what inference should see next."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError, PoseError
from pcr_rt.frames import check_frame
from pcr_rt.streaming.results import StageClock
from pcr_rt.streaming.sources import Item, Source

__all__ = ["Captured", "Reader", "SourceStats"]

log = logging.getLogger(__name__)

QUEUE = 4
"""Frames that a file may be ahead of inference."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
TICK_S = 1e-4
"""The least between two timestamps of a source."""
RATE_OVER_S = 3.0
"""The frame rate shown is that of the last so many seconds."""


@dataclass
class SourceStats:
    """What has become of a source's frames: read = shown + dropped + failed + those under way.

    dropped: a newer frame came before there was time for it, or the stream was closed. failed: it
    arrived broken. reconnects: how often a lost source came back. fps: of the frames shown, over
    the last few seconds. size: (width, height) of the last frame. age_ms: of the last result.
    error: what ended the source before its end.
    """

    name: str
    read: int = 0
    shown: int = 0
    dropped: int = 0
    failed: int = 0
    reconnects: int = 0
    connected: bool = False
    fps: float = 0.0
    size: tuple[int, int] | None = None
    age_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Captured:
    """A frame (H, W, 3) uint8 BGR of a source, by number, and its index there.

    timestamp: seconds that rise, of the source's own clock. arrived: ``time.monotonic`` when read.
    """

    source: int
    index: int
    frame: NDArray[np.uint8]
    timestamp: float
    arrived: float


class Reader:
    """Read the frames of one source in a thread of its own, and count them.

    A live source keeps its newest frame, another one waits while `QUEUE` are kept. ``changed`` is
    the stream's lock and tells it of new frames and ends. readers: all of the stream's, this one
    included. A source that never connected is tried again as long as another one did, or still may.
    """

    def __init__(
        self,
        number: int,
        source: Source,
        changed: threading.Condition,
        clock: StageClock,
        readers: Sequence[Reader],
    ) -> None:
        self.source = source
        self.stats = SourceStats(source.name)
        self.ended = False
        self.error: BaseException | None = None
        self._number = number
        self._changed = changed
        self._clock = clock
        self._readers = readers
        self.hopeless = False
        """The last attempt to connect failed, and none before it worked."""
        self._kept: deque[Captured] = deque()
        self._shown_at: deque[float] = deque()
        self._stop = threading.Event()
        self._last = -float("inf")
        self._complaint: str | None = None
        self.thread = threading.Thread(target=self._run, name=f"pcr-rt read {number}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    def take(self) -> Captured | None:
        """Take the next frame, if there is one; the caller holds the lock."""
        if not self._kept:
            return None
        self._changed.notify_all()
        return self._kept.popleft()

    def count_shown(self, now: float, age_ms: float | None) -> None:
        """Count a frame whose result was handed on at ``now``."""
        with self._changed:
            self.stats.shown += 1
            self.stats.age_ms = age_ms
            self._shown_at.append(now)
            self._forget_old(now)

    def stats_now(self) -> SourceStats:
        """Return a copy of the counts with the present rate; the caller holds the lock."""
        now = time.monotonic()
        self._forget_old(now)
        span = now - self._shown_at[0] if len(self._shown_at) > 1 else 0.0
        return dataclasses.replace(
            self.stats, fps=(len(self._shown_at) - 1) / span if span > 0 else 0.0
        )

    def _forget_old(self, now: float) -> None:
        while self._shown_at and now - self._shown_at[0] > RATE_OVER_S:
            self._shown_at.popleft()

    def close(self, timeout_s: float) -> None:
        """Stop reading; a driver that still waits for a frame is abandoned after a time."""
        self._stop.set()
        with self._changed:
            self.stats.dropped += len(self._kept)
            self._kept.clear()
            self._changed.notify_all()
        if self.thread.is_alive():
            self.source.interrupt()
            self.thread.join(timeout_s)
        if self.thread.is_alive():
            log.info("The %s does not answer; its thread ends with it.", self.source.name)

    def _run(self) -> None:
        try:
            self._read_until_the_end()
        except BaseException as error:  # raised again in the thread that runs the stream
            self.error = error
            self.stats.error = str(error) or type(error).__name__
            if len(self._readers) > 1:
                log.error("The %s has ended: %s", self.source.name, error, exc_info=_fault(error))
        finally:
            with self._changed:
                self.ended = True
                self.stats.connected = False
                self._changed.notify_all()

    def _read_until_the_end(self) -> None:
        delay, told = FIRST_DELAY_S, False
        while not self._stop.is_set():
            before, reason = self.stats.read, "it gives no more frames"
            try:
                self._connect_and_read(lost=told)
            except PoseError as error:
                if self._stop.is_set():  # it is the interruption that it complains of
                    return
                self.hopeless = self.stats.read == 0
                if not self.source.reconnects or (self.hopeless and not self._others_live()):
                    raise
                reason = str(error)
            if self._stop.is_set():
                return
            if not self.source.reconnects:
                self._raise_if_useless()
                return
            self.stats.connected = False
            if self.stats.read > before:
                delay, told = FIRST_DELAY_S, False
            if not told:
                log.warning(
                    "Lost the %s, trying again until it is back: %s", self.source.name, reason
                )
                told = True
            self._stop.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)

    def _others_live(self) -> bool:
        others = (reader for reader in self._readers if reader is not self)
        return any(not (reader.ended or reader.hopeless) for reader in others)

    def _connect_and_read(self, lost: bool) -> None:
        frames = iter(self.source.frames())
        with contextlib.ExitStack() as at_the_end:
            if hasattr(frames, "close"):  # a generator, which then disconnects
                at_the_end.callback(frames.close)
            while not self._stop.is_set():
                start = time.perf_counter()
                item = next(frames, None)
                self._clock.add({"read": (time.perf_counter() - start) * 1e3})
                if item is None:
                    return
                if lost:
                    lost = False
                    log.warning("The %s is back.", self.source.name)
                self._keep(item)

    def _keep(self, item: Item) -> None:
        frame, timestamp = item[0], float(item[1])
        problem = None
        try:
            if not math.isfinite(timestamp):
                problem = f"its time is {timestamp}"
            elif frame is None:
                problem = "it cannot be decoded"
            else:
                check_frame(frame)
        except InputError as error:
            problem = str(error)
        with self._changed:
            if self._stop.is_set():
                return
            self.hopeless = False
            stats = self.stats
            index = stats.read
            stats.read += 1
            if not stats.connected:
                stats.connected = True
                stats.reconnects += index > 0
            if frame is None or problem is not None:
                stats.failed += 1
                if self._complaint is None:
                    self._complaint = f"frame {index} of the {self.source.name}: {problem}"
                    log.warning("Left out %s", self._complaint)
                return
            self._note_size(frame)
            self._last = max(timestamp, self._last + TICK_S)
            captured = Captured(self._number, index, frame, self._last, time.monotonic())
            if self.source.live:
                stats.dropped += len(self._kept)
                self._kept.clear()
            while len(self._kept) >= QUEUE and not self._stop.is_set():
                self._changed.wait()
            if self._stop.is_set():
                stats.dropped += 1
                return
            self._kept.append(captured)
            self._changed.notify_all()

    def _note_size(self, frame: NDArray[np.uint8]) -> None:
        size = (frame.shape[1], frame.shape[0])
        if self.stats.size not in (None, size):
            log.warning("The %s now gives frames of %dx%d.", self.source.name, *size)
        self.stats.size = size

    def _raise_if_useless(self) -> None:
        if self.stats.read == 0:
            raise InputError(f"The {self.source.name} has no frames.")
        if self.stats.failed == self.stats.read:
            raise InputError(f"No frame is usable; {self._complaint}")


def _fault(error: BaseException) -> BaseException | None:
    """Return the error itself if its message alone would not do."""
    return None if isinstance(error, PoseError) else error
