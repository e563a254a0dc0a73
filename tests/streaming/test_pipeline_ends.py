"""What a stream's sinks see, and how it ends."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.results import Result
from pcr_rt.streaming.sinks import JsonLinesSink
from pcr_rt.streaming.sources import FrameSource, Item, Source
from toy_streams import Collector, accounted, endless, numbered, stream


def test_sinks_see_every_frame_of_a_file_however_slow() -> None:
    slow, fast = Collector(seconds=0.004), Collector()
    stream([numbered(n) for n in range(40)], sinks=[slow, fast]).run()
    assert slow.seen == fast.seen == list(range(40))
    assert (slow.closed, fast.closed) == (1, 1)


def test_a_failing_sink_stops_and_the_stream_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    failing, other = Collector(fail_at=3), Collector()
    poses_stream = stream([numbered(n) for n in range(40)], sinks=[failing, other])
    poses_stream.run()
    assert failing.seen == [0, 1, 2]
    assert failing.closed == 1
    assert other.seen == list(range(40))
    assert [str(error) for error in poses_stream.sink_errors] == ["the disk is full"]
    assert "has stopped: the disk is full" in caplog.text


def test_a_failing_sink_ends_the_stream_if_asked() -> None:
    other = Collector()
    poses_stream = stream(endless(), sinks=[Collector(fail_at=3), other], stop_on_sink_error=True)
    with pytest.raises(InputError, match="the disk is full"):
        poses_stream.run()
    accounted(poses_stream)
    assert other.closed == 1
    assert other.seen == list(range(poses_stream.stats[0].shown))


def test_a_slow_sink_does_not_slow_a_live_stream(caplog: pytest.LogCaptureFixture) -> None:
    slow = Collector(seconds=0.1)
    poses_stream = stream(FrameSource(endless(), live=True), sinks=[slow])
    with caplog.at_level(logging.WARNING):
        for count, _ in enumerate(poses_stream):
            if count == 60:
                break
    assert len(slow.seen) < 30
    assert slow.seen == sorted(slow.seen)
    assert "too slow" in caplog.text


# Endings


def test_breaking_off_gives_the_sinks_what_the_loop_saw(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    poses_stream = stream(endless(), sinks=[JsonLinesSink(path)])
    for _, poses in poses_stream:
        if poses.frame_index == 9:
            break
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["frame_index"] for line in lines] == list(range(10))
    assert poses_stream.stats[0].shown == 10
    accounted(poses_stream)


def test_a_stream_is_run_once_and_may_be_closed_unused() -> None:
    sink = Collector()
    poses_stream = stream([numbered(0)], sinks=[sink])
    poses_stream.close()
    assert sink.closed == 1
    with pytest.raises(InputError, match="once"):
        poses_stream.run()


class Closing(Collector):
    """Closes its stream, or ends its thread, at the third frame."""

    def __init__(self, end: Callable[[PoseStream], None]) -> None:
        super().__init__()
        self.end = end

    def attach(self, stream: PoseStream) -> None:
        self.stream = stream

    def write(self, result: Result) -> None:
        super().write(result)
        if result.poses.frame_index == 2:
            self.end(self.stream)


def test_a_stream_may_be_closed_by_its_own_sink() -> None:
    sink = Closing(lambda stream: stream.close())
    poses_stream = stream(endless(0.001), sinks=[sink])
    poses_stream.run()
    assert poses_stream.sink_errors == []
    assert sink.closed == 1


def test_a_stream_may_be_closed_by_its_own_source() -> None:
    def frames() -> Iterator[NDArray[np.uint8]]:
        for number in itertools.count():
            if number == 5:
                poses_stream.close()
            yield numbered(number)

    poses_stream = stream(frames())
    assert poses_stream.run()[0].shown <= 5


def test_what_closing_interrupts_has_not_failed() -> None:
    class Killed(Source):
        """Complains when it is interrupted, as one whose program is killed."""

        def __init__(self) -> None:
            self.asked = threading.Event()

        def frames(self) -> Iterator[Item]:
            yield numbered(0), 0.0
            self.asked.wait(30)
            raise InputError("the program was killed")

        def interrupt(self) -> None:
            self.asked.set()

    poses_stream = stream(Killed())
    for _ in poses_stream:
        break
    assert poses_stream.stats[0].error is None


def test_a_sink_that_exits_is_closed_and_holds_nothing_up() -> None:
    sink = Closing(lambda _: sys.exit(3))
    poses_stream = stream([numbered(n) for n in range(100)], sinks=[sink])
    assert poses_stream.run()[0].shown == 100
    assert [type(error) for error in poses_stream.sink_errors] == [SystemExit]
    assert sink.closed == 1


PROGRAM = """
import itertools, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path.insert(0, sys.argv[1])
from toy_streams import ToyEstimator, numbered
from pcr_rt import PoseStream
from pcr_rt.streaming.sinks import JsonLinesSink, VideoSink

def frames():
    for n in itertools.count():
        time.sleep(0.01)
        yield numbered(n, size=(64, 48))

sinks = [JsonLinesSink(sys.argv[2] + ".jsonl"), VideoSink(sys.argv[2] + ".mp4")]
for frame, poses in PoseStream(frames(), ToyEstimator(), sinks=sinks, track=False):
    if poses.frame_index == 20:
        print("running", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_finish_the_files(tmp_path: Path, number: signal.Signals) -> None:
    from pcr_rt.media import VideoReader

    support = Path(__file__).parents[1] / "support"
    command = [sys.executable, "-c", PROGRAM, str(support), str(tmp_path / "a")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        os.kill(child.pid, number)
        try:
            child.communicate(timeout=30)
        finally:
            child.kill()
    assert child.returncode in (128 + number, -number)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame_index"] for line in lines] == list(range(len(lines)))
    assert len(lines) > 20
    with VideoReader(tmp_path / "a.mp4") as video:
        assert len(list(video)) == len(lines)


@pytest.mark.parametrize(
    ("source", "options", "complaint"),
    [
        ([], {}, "list of sources is empty"),
        (np.zeros((5, 5, 3), np.uint8), {}, "call the estimator"),
        (3.5, {}, "float is no source"),
        ("no-such-file.mp4", {}, "does not exist"),
        ([numbered(0)], {"width": 640}, "width cannot be chosen"),
        ([numbered(0)], {"detect_every": 0}, "detect_every"),
        (0, {"fps": -1}, "fps is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    source: Any, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        stream(source, **options)
