"""Run one source or several as a stream: reading, inference and output at their own pace."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.drawing import DrawOptions
from pcr_rt.errors import InputError
from pcr_rt.frames import CheckedFrames
from pcr_rt.poses import Poses
from pcr_rt.streaming.open import SourceOptions, Sources, open_sources
from pcr_rt.streaming.reader import Captured, Reader, SourceStats
from pcr_rt.streaming.results import Result, StageClock
from pcr_rt.streaming.shutdown import closed_at_exit, terminated_properly
from pcr_rt.streaming.sink_threads import SinkThread
from pcr_rt.streaming.sinks import Sink
from pcr_rt.streaming.sources import Source
from pcr_rt.tracking.continuity import Continuity
from pcr_rt.tracking.schedule import parse_interval

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["PoseStream"]

Frame = NDArray[np.uint8]
CLOSE_READER_S = 1.0
CLOSE_INFERENCE_S = 60.0
POLL_S = 0.5
"""How often a waiting main thread looks for signals if locks cannot be interrupted."""


class Estimates(Protocol):
    """What a stream needs of an estimator, which is a `PoseEstimator`."""

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds of each stage of this thread's last call."""

    def warmup(self) -> None:
        """Run on a blank frame, so that the first real ones are not slowed down."""

    def batch(
        self, frames: Sequence[Frame], boxes: Sequence[ArrayLike | None] | None = None
    ) -> list[Poses]:
        """Find the people of several frames."""


class PoseStream:
    """Find and follow people in a camera, a file, a URL, or several of them at once.

    ``for frame, poses in PoseStream(0, estimator): ...`` yields each frame (H, W, 3) uint8 BGR with
    Poses that have their source, frame_index, timestamp (seconds) and age_ms. The sinks get the
    same array: draw into a copy. A stream can be run through once, and is closed at the end of the
    loop, by ``close`` or by ``with``.

    Parameters
    ----------
    source
        What `open_source` takes, or a list of it. Live sources give their newest frame and are
        reconnected when they are lost; others give every frame. The people of all sources' frames
        go through the network together, and no source waits for another.
    estimator
        A PoseEstimator; it is not closed.
    track, smooth
        Give people ids that last, and steady their keypoints (which needs ids).
    detect_every
        With tracking, how often to look for new people: a time, as in ``"0.5s"``, or every so
        many frames. In between the known ones are followed.
    drawing
        How people are drawn in videos, windows and pages: options of `Poses.draw`.
    sinks
        Where results go besides the loop, each with a thread of its own; closed with the stream.
    stop_on_sink_error
        Whether a sink that fails ends the stream with its error, or is left out from then on.
    options
        width, height, fps, fourcc and decoder, see `SourceOptions`.

    Raises
    ------
    InputError
        For a source that does not exist or an option out of range and, when run, if no source can
        be opened.
    """

    def __init__(
        self,
        source: Sources,
        estimator: Estimates,
        *,
        track: bool = True,
        smooth: bool = True,
        detect_every: int | str = "0.5s",
        drawing: DrawOptions | None = None,
        sinks: Sequence[Sink] = (),
        stop_on_sink_error: bool = False,
        **options: Unpack[SourceOptions],
    ) -> None:
        parse_interval(detect_every)
        opened = open_sources(source, **options)
        self.stop_on_sink_error = stop_on_sink_error
        self._estimator = estimator
        self._drawing = drawing
        self._clock = StageClock()
        self._changed = threading.Condition()
        self._readers: list[Reader] = []
        for number, one in enumerate(opened):
            self._readers.append(Reader(number, one, self._changed, self._clock, self._readers))
        self._people = [
            Continuity(track=track, smooth=smooth, detect_every=detect_every) for _ in opened
        ]
        self._sinks = [SinkThread(sink, self._clock) for sink in sinks]
        self._results: queue.Queue[tuple[Captured, Poses] | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._started = False
        self._closed = False
        self._closing = threading.RLock()
        self._inference = threading.Thread(target=self._infer, name="pcr-rt infer", daemon=True)
        for sink in sinks:
            sink.attach(self)

    @property
    def sources(self) -> list[Source]:
        """The opened sources, in the order of ``poses.source``."""
        return [reader.source for reader in self._readers]

    @property
    def stats(self) -> list[SourceStats]:
        """What has become of the frames of each source so far, a copy."""
        with self._changed:
            return [reader.stats_now() for reader in self._readers]

    @property
    def stages_ms(self) -> dict[str, float]:
        """Milliseconds spent in each stage so far, by the threads that do it."""
        return self._clock.totals()

    @property
    def sink_errors(self) -> list[BaseException]:
        """Why sinks stopped before the end."""
        return [thread.error for thread in self._sinks if thread.error is not None]

    def __iter__(self) -> Iterator[tuple[Frame, Poses]]:
        for result in self.results():
            yield result.frame, result.poses

    def run(self) -> list[SourceStats]:
        """Run to the end; all output is in the sinks."""
        for _ in self.results():
            pass
        return self.stats

    def results(self) -> Iterator[Result]:
        """Iterate as the loop does, over `Result` objects, which share one drawing with sinks."""
        if self._started or self._closed:
            raise InputError("A PoseStream can be run through once: make a new one.")
        self._started = True
        try:
            with terminated_properly(), closed_at_exit(self):
                for sink in self._sinks:
                    sink.start()
                for reader in self._readers:
                    reader.start()
                self._inference.start()
                while (found := self._next()) is not None:
                    yield self._show(*found)
                    self._raise_sink_error()
        finally:
            self.close()
        if self._error is not None:
            raise self._error
        self._raise_sink_error()

    def close(self) -> None:
        """Stop and finish all files; frames under way are dropped. Any thread may call this.

        Called by a sink, an estimator or a source of the stream it returns at once, and the thread
        that runs the stream does the rest.
        """
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        own = [
            self._inference,
            *(r.thread for r in self._readers),
            *(s.thread for s in self._sinks),
        ]
        if threading.current_thread() in own:
            return
        with self._closing:
            if self._closed:
                return
            for reader in self._readers:
                reader.close(CLOSE_READER_S)
            if self._inference.is_alive():
                self._inference.join(CLOSE_INFERENCE_S)
            while not self._results.empty():
                if (left := self._results.get_nowait()) is not None:
                    self._drop(left[0])
            for thread in self._sinks:
                thread.close()
            self._closed = True

    def __enter__(self) -> PoseStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # In the thread that runs the stream

    def _next(self) -> tuple[Captured, Poses] | None:
        while not self._stop.is_set():
            try:
                return self._results.get(timeout=POLL_S)
            except queue.Empty:
                continue
        return None

    def _show(self, captured: Captured, poses: Poses) -> Result:
        reader, now = self._readers[captured.source], time.monotonic()
        poses = poses.replace(
            source=captured.source,
            frame_index=captured.index,
            timestamp=captured.timestamp,
            age_ms=(now - captured.arrived) * 1e3,
        )
        fps = reader.source.fps
        result = Result(captured.frame, poses, fps, self._clock, self._drawing)
        reader.count_shown(now, poses.age_ms)
        for thread in self._sinks:
            thread.offer(result, wait=not reader.source.live)
        return result

    def _raise_sink_error(self) -> None:
        if self.stop_on_sink_error and self.sink_errors:
            raise self.sink_errors[0]

    # In the inference thread

    def _infer(self) -> None:
        round_: list[Captured] = []
        try:
            self._estimator.warmup()  # in this thread: buffers and graphs of a device belong to one
            while round_ := self._round():
                done = list(zip(round_, self._estimate(round_), strict=True))
                round_ = []
                for captured, poses in done:
                    self._deliver(captured, poses)
            errors = [reader.error for reader in self._readers]
            if None not in errors:  # the only source, or all of several
                self._error = errors[0]
        except BaseException as error:  # raised again in the thread that runs the stream
            self._error = error
            with self._changed:
                for captured in round_:
                    self._readers[captured.source].stats.failed += 1
        finally:
            self._deliver(None, None)

    def _round(self) -> list[Captured]:
        """Wait for at most one frame of each source, at least one in all; none at the end."""
        with self._changed:
            while not self._stop.is_set():
                taken = [reader.take() for reader in self._readers]
                if found := [captured for captured in taken if captured is not None]:
                    return found
                if all(reader.ended for reader in self._readers):
                    break
                self._changed.wait()
        return []

    def _estimate(self, round_: list[Captured]) -> list[Poses]:
        start = time.perf_counter()
        people = [self._people[c.source] for c in round_]
        regions = [p.regions(c.frame, c.timestamp) for p, c in zip(people, round_, strict=True)]
        self._clock.add({"track": (time.perf_counter() - start) * 1e3})
        found = self._batch(round_, regions)
        start = time.perf_counter()
        # Known people whom the detector did not find are looked for in the same frame.
        missing = {
            i: places
            for i, (person, c) in enumerate(zip(people, round_, strict=True))
            if regions[i] is None and len(places := person.missing(found[i], c.frame, c.timestamp))
        }
        self._clock.add({"track": (time.perf_counter() - start) * 1e3})
        again: dict[int, Poses] = {}
        if missing:
            results = self._batch([round_[i] for i in missing], list(missing.values()))
            again = dict(zip(missing, results, strict=True))
        start = time.perf_counter()
        results = [
            p.update(found[i], again.get(i), c.frame, c.timestamp, detected=regions[i] is None)
            for i, (p, c) in enumerate(zip(people, round_, strict=True))
        ]
        self._clock.add({"track": (time.perf_counter() - start) * 1e3})
        return results

    def _batch(
        self, round_: list[Captured], boxes: Sequence[NDArray[np.float64] | None]
    ) -> list[Poses]:
        poses = self._estimator.batch(CheckedFrames(c.frame for c in round_), boxes)
        self._clock.add(self._estimator.timings)
        return poses

    def _deliver(self, captured: Captured | None, poses: Poses | None) -> None:
        item = None if captured is None or poses is None else (captured, poses)
        while not self._stop.is_set():
            try:
                self._results.put(item, timeout=POLL_S)
                return
            except queue.Full:
                continue
        if captured is not None:
            self._drop(captured)

    def _drop(self, captured: Captured) -> None:
        with self._changed:
            self._readers[captured.source].stats.dropped += 1
