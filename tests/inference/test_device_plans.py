"""Plans of the device path: how many there are, how long they live, who waits for them."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt.errors import InputError
from pcr_rt.inference import device as device_module
from pcr_rt.inference.estimator import PoseEstimator
from stand_in_engine import StandInBinding, StandInEngine
from toy_estimators import BOXES, both, same

pytestmark = pytest.mark.usefixtures("cupy")


def test_no_plan_is_made_twice_in_a_thousand_rounds_of_eight_cameras(
    model: Path, frame: np.ndarray, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Counted(device_module.PosePlan):
        def __init__(self, stream: Any, networks: Any, bindings: Any, *rest: Any) -> None:
            made.append(rest)
            super().__init__(stream, networks, bindings, *rest)

    monkeypatch.setattr(device_module, "PosePlan", Counted)
    # Only the buffers count here, not what is in them.
    monkeypatch.setattr(cupy.RawKernel, "__call__", lambda *arguments: None)
    monkeypatch.setattr(StandInBinding, "enqueue", lambda *arguments: None)
    engine = StandInEngine(model, max_batch=16)
    device = PoseEstimator(engine, detector=None, nms=None, score_threshold=0.0)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        people = rng.integers(0, 9, rng.integers(1, 9))
        device.batch([frame] * len(people), [BOXES[:1] * n for n in people.tolist()])
    keys = [repr(key) for key in made]
    assert len(keys) == len(set(keys))
    assert sorted(engine.bound) == [1, 2, 4, 8, 16]


def test_frames_without_people_and_places_without_frames(model: Path, frame: np.ndarray) -> None:
    host, device = both(lambda kind: kind(model))
    few = [frame, frame[:40, :50], frame[10:]], [BOXES[:2], [], BOXES[1:2]]
    many = [frame] * 9, [BOXES[:1], *[[]] * 7, BOXES[:3]]
    for frames, boxes in (many, few, many, few, many):
        expected = host.batch(frames, boxes)
        for found, wanted in zip(device.batch(frames, boxes), expected, strict=True):
            same(found, wanted)


def test_a_plan_that_goes_returns_its_memory(
    model: Path, frame: np.ndarray, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_module, "MOST_PLANS", 2)
    gc.collect()  # plans of other tests
    cupy.freed.clear()
    device = PoseEstimator(StandInEngine(model), detector=None)
    for people in (1, 2, 2, 3):
        device(frame, BOXES[:people])
    assert len(cupy.freed) == 1
    device.close()
    gc.collect()
    assert len(set(map(id, cupy.freed))) == 3


def test_close_waits_for_the_calls_of_other_threads(model: Path, frame: np.ndarray) -> None:
    engine = StandInEngine(model)
    began, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def find(image: np.ndarray) -> Any:
        began.set()
        assert go_on.wait(30)
        return BOXES

    device = PoseEstimator(engine, detector=find)

    def call() -> None:
        device(frame)
        order.append("called")

    def close() -> None:
        device.close()
        order.append("closed")

    threads = [threading.Thread(target=call), threading.Thread(target=close)]
    threads[0].start()
    assert began.wait(30)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    with pytest.raises(InputError, match="closed"):
        device(frame, BOXES)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(order) == ["called", "closed"]


def test_a_detector_may_close_its_own_estimator(model: Path, frame: np.ndarray) -> None:
    def find(image: np.ndarray) -> Any:
        device.close()
        return []

    device = PoseEstimator(StandInEngine(model), detector=find)
    assert len(device(frame)) == 0


@pytest.mark.parametrize(("most", "buckets"), [(1, [1]), (5, [1, 2, 4, 6]), (20, [1, 2, 4, 6])])
def test_warming_up_makes_every_bucket_and_graph(
    model: Path,
    frame: np.ndarray,
    cupy: Any,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    buckets: list[int],
) -> None:
    engine = StandInEngine(model, max_batch=6)
    device = PoseEstimator(engine, detector=None)
    device.warmup(most)
    assert sorted(engine.bound) == buckets
    monkeypatch.delattr(cupy.Stream, "begin_capture")  # all graphs are there
    for people in range(1, min(most, 6) + 1):
        before = cupy.Graph.launched
        device(frame, BOXES[:1] * people)
        assert cupy.Graph.launched == before + 1
    assert sorted(engine.bound) == buckets
    with pytest.raises(InputError, match="positive"):
        device.warmup(0)
