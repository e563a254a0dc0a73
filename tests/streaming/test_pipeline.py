from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.streaming import reader
from pcr_rt.streaming.sources import FrameSource, Item, Source
from toy_streams import ToyCamera, ToyEstimator, accounted, endless, numbered, stream, ticking


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FIRST_DELAY_S", 0.01)


# Every frame


def test_a_list_of_frames_comes_out_in_order_and_whole() -> None:
    frames = [numbered(n) for n in range(20)]
    poses_stream = stream(frames, fps=10)
    for index, (frame, poses) in enumerate(poses_stream):
        np.testing.assert_array_equal(frame, frames[index])
        np.testing.assert_array_equal(poses.keypoints[0], np.tile([index, 0], (17, 1)))
        assert (poses.source, poses.frame_index) == (0, index)
        assert poses.timestamp == pytest.approx(index / 10)
        assert poses.age_ms is not None
        assert 0 <= poses.age_ms < 10_000
    (stats,) = poses_stream.stats
    assert (stats.read, stats.shown, stats.dropped, stats.failed) == (20, 20, 0, 0)
    assert poses_stream.stages_ms["infer"] == pytest.approx(20)


def test_the_estimator_is_warmed_up_once_in_the_thread_that_calls_it() -> None:
    class Noting(ToyEstimator):
        def batch(self, frames: Sequence[NDArray[np.uint8]], boxes: Any = None) -> list[Poses]:
            assert self.warm == [threading.current_thread()]
            return super().batch(frames, boxes)

    estimator = Noting()
    assert len(list(stream([numbered(n) for n in range(3)], estimator))) == 3
    assert len(estimator.warm) == 1


def test_a_slow_loop_holds_a_file_back() -> None:
    taken = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for number in range(40):
            taken.append(number)
            yield numbered(number)

    shown = 0
    for shown, _ in enumerate(stream(frames()), start=1):
        time.sleep(0.002)
        # The reader's queue, one in its hand, one in inference, one waiting, one here.
        assert len(taken) - shown <= reader.QUEUE + 4
    assert shown == 40


class Recorded(Source):
    """A source of one's own that gives what it was made with."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items

    def frames(self) -> Iterator[Item]:
        return self._items


def test_a_source_of_ones_own_may_give_any_iterator() -> None:
    frames = [numbered(n) for n in range(3)]
    found = list(stream(Recorded(zip(frames, np.float32([0, 0.5, 1]), strict=True))))
    assert [poses.timestamp for _, poses in found] == [0, 0.5, 1]
    assert all(type(poses.timestamp) is float for _, poses in found)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_frames_without_a_time_are_left_out(wrong: float) -> None:
    frames = [numbered(n) for n in range(3)]
    poses_stream = stream(Recorded(zip(frames, [0.0, wrong, 1.0], strict=True)))
    assert [poses.timestamp for _, poses in poses_stream] == [0, 1]
    assert poses_stream.stats[0].failed == 1


def test_broken_frames_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    bad = [np.zeros((5, 5), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 3))]
    poses_stream = stream(iter([numbered(0), *bad, numbered(4)]))
    assert [poses.frame_index for _, poses in poses_stream] == [0, 4]
    (stats,) = poses_stream.stats
    assert (stats.read, stats.shown, stats.failed) == (5, 2, 3)
    assert [r.message for r in caplog.records] == [
        "Left out frame 1 of the frame iterator: The frame is grey: convert it with"
        " cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)."
    ]


@pytest.mark.parametrize(
    ("frames", "complaint"), [([], "no frames"), ([np.zeros((5, 5))] * 3, "No frame is usable")]
)
def test_a_source_without_a_usable_frame_is_an_error(frames: list[Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        stream(iter(frames)).run()


def test_errors_of_the_caller_s_iterator_and_of_the_estimator_are_loud() -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield numbered(0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        stream(broken()).run()
    poses_stream = stream([numbered(n) for n in range(9)], ToyEstimator(fail_at=3))
    with pytest.raises(RuntimeError, match="the device is gone"):
        poses_stream.run()
    accounted(poses_stream)
    assert poses_stream.stats[0].failed == 1


# Live


def test_a_live_source_gives_its_newest_frame_and_counts_the_others() -> None:
    poses_stream = stream(FrameSource(endless(), live=True), ToyEstimator(seconds=0.03))
    indexes, ages = [], []
    for _, poses in poses_stream:
        indexes.append(poses.frame_index)
        ages.append(poses.age_ms)
        if len(indexes) == 8:
            break
    assert indexes == sorted(set(indexes))
    (stats,) = poses_stream.stats
    assert stats.shown == 8
    assert stats.dropped > 8
    accounted(poses_stream)
    # A queue of the dropped ones would make ages grow from frame to frame.
    assert max(ages[4:]) < 3 * max(ages[1:4]) + 200


def test_timestamps_of_a_live_source_rise() -> None:
    def connection() -> Iterator[Item]:
        for number in range(30):
            time.sleep(0.002)
            yield numbered(number), 100.0  # a clock that stands still

    times = []
    for _, poses in (poses_stream := stream(ToyCamera(connection))):
        times.append(poses.timestamp)
        if len(times) == 5:
            break
    assert (np.diff(times) > 0).all()
    accounted(poses_stream)


def test_a_lost_camera_comes_back_with_another_size(caplog: pytest.LogCaptureFixture) -> None:
    def nobody() -> Iterator[Item]:
        raise InputError("no route to host")

    camera = ToyCamera(
        ticking(range(5)), nobody, nobody, ticking(range(100, 200), size=(64, 48)), name="door"
    )
    sizes = []
    for frame, _ in (poses_stream := stream(camera)):
        sizes.append((frame.shape[1], frame.shape[0]))
        if sizes.count((64, 48)) == 3:
            break
    assert sizes[0] == (32, 24)
    assert poses_stream.stats[0].reconnects == 1
    accounted(poses_stream)
    assert [r.message for r in caplog.records] == [
        "Lost the door, trying again until it is back: it gives no more frames",
        "The door is back.",
        "The door now gives frames of 64x48.",
    ]


def test_delays_between_attempts_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[float] = []

    def nobody() -> Iterator[Item]:
        attempts.append(time.monotonic())
        raise InputError("no route to host")

    monkeypatch.setattr(reader, "FIRST_DELAY_S", 0.04)
    monkeypatch.setattr(reader, "LONGEST_DELAY_S", 0.16)
    camera = ToyCamera(ticking([1]), *[nobody] * 5, ticking(range(100)))
    for _, poses in (poses_stream := stream(camera)):
        if poses.frame_index:
            break
    poses_stream.close()
    waits = np.diff(attempts)
    assert len(attempts) == 5
    assert (waits >= [0.08, 0.16, 0.16, 0.16]).all()


def test_the_only_camera_that_is_not_there_is_an_error() -> None:
    def nobody() -> Iterator[Item]:
        raise InputError("Camera 7 does not exist.")
        yield

    with pytest.raises(InputError, match="Camera 7"):
        stream(ToyCamera(nobody)).run()


def test_several_cameras_of_which_none_is_there_are_an_error() -> None:
    def nobody() -> Iterator[Item]:
        raise InputError("nobody there")
        yield

    cameras = [ToyCamera(nobody, name=f"camera {n}") for n in range(3)]
    poses_stream = stream(cameras)
    with pytest.raises(InputError, match="nobody there"):
        poses_stream.run()
    assert [stats.error for stats in poses_stream.stats] == ["nobody there"] * 3


def test_a_long_run_remembers_only_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "RATE_OVER_S", 0.05)
    poses_stream = stream(FrameSource(endless(0.002), live=True))
    for count, _ in enumerate(poses_stream):
        if count == 200:
            break
    assert poses_stream.stats[0].shown == 201
    assert len(poses_stream._readers[0]._shown_at) < 100


# Several sources


def test_several_files_share_batches_and_keep_their_order() -> None:
    estimator = ToyEstimator(seconds=0.005)
    sources = [[numbered(n, camera) for n in range(30)] for camera in range(3)]
    poses_stream = stream(sources, estimator)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for frame, poses in poses_stream:
        assert poses.keypoints[0, 0, 1] == poses.source == frame[0, 0, 2]
        seen[poses.source].append(int(poses.keypoints[0, 0, 0]))
        # Each round has one frame of each source at most.
        counts = [len(numbers) for numbers in seen.values()]
        assert max(counts) - min(counts) <= 30 // 2
    assert all(numbers == list(range(30)) for numbers in seen.values())
    assert max(estimator.batches) == 3
    assert sum(estimator.batches) == 90


def test_a_stalled_and_a_dead_camera_do_not_hold_up_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = threading.Event()

    def stalled() -> Iterator[Item]:
        yield numbered(0, 1), time.monotonic()
        release.wait(20)

    def dead() -> Iterator[Item]:
        raise InputError("nobody there")
        yield

    cameras = [
        ToyCamera(ticking(range(10_000)), name="good"),
        ToyCamera(stalled, name="stalled"),
        ToyCamera(dead, name="dead"),
    ]
    counts = [0, 0, 0]
    poses_stream = stream(cameras)
    for _, poses in poses_stream:
        counts[poses.source] += 1
        if counts[0] == 30:
            release.set()
            break
    assert counts[1] <= 1
    assert counts[2] == 0
    accounted(poses_stream)
    assert "Lost the dead, trying again until it is back: nobody there" in caplog.text


def test_one_file_of_several_that_breaks_is_told_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    poses_stream = stream([iter([]), [numbered(n) for n in range(5)]])
    assert [poses.source for _, poses in poses_stream] == [1] * 5
    assert "has no frames" in caplog.text
    with pytest.raises(InputError, match="no frames"):
        stream([iter([]), iter([])]).run()
