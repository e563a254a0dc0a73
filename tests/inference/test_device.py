"""The device path against the host's: the emulated device here, the same on a GPU."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import emulated_cupy
from pcr_rt.calibration import Calibration
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import Skeleton
from stand_in_engine import StandInEngine
from toy_estimators import BOXES, SPEC, both, same
from toys import brightness_model, constant_model

pytestmark = pytest.mark.usefixtures("cupy")


def crowd(count: int) -> np.ndarray:
    corner = np.random.default_rng(count).uniform(0, 40, (count, 2))
    return np.concatenate([corner, corner + np.array([16, 24])], axis=1)


@pytest.mark.parametrize("nms", ["hard", "soft", None])
@pytest.mark.parametrize("flip_test", [False, True])
def test_same_people_as_on_the_host(
    model: Path, frame: np.ndarray, nms: Any, flip_test: bool
) -> None:
    host, device = both(lambda kind: kind(model), nms=nms, flip_test=flip_test, oks_threshold=0.5)
    boxes = [[*box, 0.5 + 0.1 * i] for i, box in enumerate([*BOXES, BOXES[0]])]
    expected = host(frame, boxes)
    assert len(expected) == 4 if nms is None else 1 < len(expected) < 5
    for _ in range(3):  # eager, recorded, again
        same(device(frame, boxes), expected)


@pytest.mark.parametrize("name", ["hand21", "halpe26", "coco_wholebody133"])
def test_same_keypoints_of_other_skeletons(frame: np.ndarray, tmp_path: Path, name: str) -> None:
    skeleton = Skeleton.load(name)
    model = brightness_model(
        tmp_path / "other.onnx",
        replace(SPEC, skeleton=skeleton),
        joints=len(skeleton),
        size=(24, 32),
    )
    host, device = both(lambda kind: kind(model), flip_test=True, oks_threshold=0.5)
    boxes = [*BOXES, BOXES[0]]
    expected = host(frame, boxes)
    assert expected.keypoints.shape[1] == len(skeleton)
    assert 1 < len(expected) < 4
    for _ in range(3):  # eager, recorded, again
        found = device(frame, boxes)
        same(found, expected)
        assert found.skeleton == skeleton


@pytest.mark.parametrize("nms", ["hard", "soft", None])
@pytest.mark.parametrize("score_threshold", [0.0, None])
def test_same_probabilities_as_on_the_host(
    frame: np.ndarray, tmp_path: Path, nms: Any, score_threshold: float | None
) -> None:
    knots = ((0.0, 0.0), (0.1, 0.45), (0.6, 0.9), (1.0, 0.99))
    spec = replace(SPEC, calibration=Calibration(keypoints=knots, people=knots))
    model = brightness_model(tmp_path / "calibrated.onnx", spec, size=(24, 32))
    host, device = both(lambda kind: kind(model), nms=nms, score_threshold=score_threshold)
    boxes = [[*box, 0.2 + 0.25 * i] for i, box in enumerate([*BOXES, BOXES[0]])]
    expected = host(frame, boxes)
    assert len(expected) > 0
    assert expected.score_kind == "probability"
    raw = PoseEstimator(model, detector=None, nms=nms, score_threshold=0.0, calibrated=False)
    assert expected.scores.max() > raw(frame, boxes).scores.max() + 0.1
    for _ in range(3):  # eager, recorded, again
        found = device(frame, boxes)
        same(found, expected)
        assert found.score_kind == "probability"


@pytest.mark.parametrize("people", [0, 1, 2, 3, 4, 5, 9])
def test_one_wait_whatever_the_number_of_people(
    model: Path, frame: np.ndarray, cupy: Any, people: int
) -> None:
    host, device = both(lambda kind: kind(model), nms=None, score_threshold=0.0)
    expected = host(frame, crowd(people))
    for _ in range(3):
        cupy.synchronisations.clear()
        cupy.launches.clear()
        same(device(frame, crowd(people)), expected)
        assert cupy.synchronisations == ["stream"] * (people > 0)
        parts = -(-people // 4)
        pairs = ["crop_persons_float32", "decode_heatmaps_float32"] * parts
        assert cupy.launches == ["place_people"] * (people > 0) + pairs
    assert len(expected) == people
    assert cupy.Graph.launched == (2 if 0 < people <= 4 else 0)


def detector_model(path: Path) -> Path:
    """YOLOX's rows: three people at fixed places of a 64x64 input, two of them alike."""
    rows = np.zeros((1, 84, 85), np.float32)
    for i, (x, y, w, h) in enumerate([(30, 30, 20, 40), (31, 30, 20, 40), (12, 40, 14, 30)]):
        rows[0, i, :6] = (x / 8 - i, y / 8, np.log(w / 8), np.log(h / 8), 0.9, 0.9 - 0.1 * i)
    spec = ModelSpec(
        "finder", "boxes", (64, 64), (0, 0, 0), (1, 1, 1), colour="bgr", layout="yolox"
    )
    return constant_model(path, spec, (64, 64), [rows])


def test_two_waits_where_a_detector_runs(
    model: Path, frame: np.ndarray, tmp_path: Path, cupy: Any
) -> None:
    from pcr_rt.inference.detector import Detector

    finder = detector_model(tmp_path / "finder.onnx")
    host = PoseEstimator(model, detector=finder, score_threshold=0.05)
    engine = StandInEngine(finder, max_batch=1)
    device = PoseEstimator(StandInEngine(model), detector=Detector(engine), score_threshold=0.05)
    expected = host(frame)
    assert len(expected) == 2
    for _ in range(3):
        cupy.synchronisations.clear()
        cupy.launches.clear()
        same(device(frame), expected)
        assert cupy.synchronisations == ["stream"] * 2
        assert len(cupy.launches) == 7
    assert device.timings["detect"] > 0
    some = device.batch([frame, frame[:50]], [None, BOXES[:1]])
    for found, wanted in zip(some, host.batch([frame, frame[:50]], [None, BOXES[:1]]), strict=True):
        same(found, wanted)


def test_a_detector_that_decodes_its_boxes_itself(
    model: Path, frame: np.ndarray, tmp_path: Path, cupy: Any
) -> None:
    """YOLOX as some exporters write it: centre and size in input pixels, and one class."""
    from pcr_rt.inference.detector import Detector

    raw = detector_model(tmp_path / "raw.onnx")
    rows = np.zeros((1, 84, 6), np.float32)
    for i, (x, y, w, h) in enumerate([(30, 30, 20, 40), (31, 30, 20, 40), (12, 40, 14, 30)]):
        rows[0, i] = (x, y, w, h, 0.9, 0.9 - 0.1 * i)
    rows[0, 9, :4] = 32  # nobody, but as large as boxes in pixels are
    finder = constant_model(
        tmp_path / "decoded.onnx", OnnxRuntimeEngine(raw, device="cpu").spec, (64, 64), [rows]
    )
    expected = PoseEstimator(model, detector=raw, score_threshold=0.05)(frame)
    assert len(expected) == 2
    device = PoseEstimator(
        StandInEngine(model),
        detector=Detector(StandInEngine(finder, max_batch=1)),
        score_threshold=0.05,
    )
    cupy.launches.clear()
    same(device(frame), expected)
    assert "decode_boxes_float32" in cupy.launches


def crowd_detector(path: Path, people: int) -> Path:
    """YOLOX's rows: up to nine people of 14x18 pixels, side by side in a 64x64 input."""
    rows = np.zeros((1, 84, 85), np.float32)
    for i in range(people):
        x, y = 12 + 19 * (i % 3), 12 + 20 * (i // 3)
        rows[0, i, :6] = (x / 8 - i % 8, y / 8 - i // 8, np.log(14 / 8), np.log(18 / 8), 0.9, 0.9)
    spec = ModelSpec(
        "finder", "boxes", (64, 64), (0, 0, 0), (1, 1, 1), colour="bgr", layout="yolox"
    )
    return constant_model(path, spec, (64, 64), [rows])


@pytest.mark.parametrize(
    ("people", "buckets"),
    [(0, []), (1, [1]), (2, [2]), (3, [4]), (4, [4]), (5, [1, 4]), (9, [1, 4, 4])],
)
def test_the_count_that_a_detector_finds_picks_the_bucket(
    model: Path, tmp_path: Path, cupy: Any, people: int, buckets: list[int]
) -> None:
    from pcr_rt.inference.detector import Detector

    y, x = np.mgrid[0:72, 0:64]
    frame = np.repeat((20 + 2 * x + y)[..., None], 3, axis=2).astype(np.uint8)
    finder = crowd_detector(tmp_path / "finder.onnx", people)
    options: dict[str, Any] = {"score_threshold": 0.05, "nms": None}
    host = PoseEstimator(model, detector=finder, **options)
    engine = StandInEngine(model)  # takes four people
    finds = Detector(StandInEngine(finder, max_batch=1))
    device = PoseEstimator(engine, detector=finds, **options)
    expected = host(frame)
    assert len(expected) == people
    around = ["letterbox_float32", "decode_boxes_float32", "box_nms_float32"]
    for _ in range(3):  # eager, recorded, again
        cupy.synchronisations.clear()
        cupy.launches.clear()
        same(device(frame), expected)
        assert cupy.synchronisations == ["stream"] * (2 if people else 1)
        pairs = ["crop_persons_float32", "decode_heatmaps_float32"] * len(buckets)
        assert cupy.launches == around + ["place_people"] * (people > 0) + pairs
    assert set(engine.bound) == set(buckets)


def test_boxes_outside_the_frame(model: Path, frame: np.ndarray, cupy: Any) -> None:
    host, device = both(lambda kind: kind(model), nms=None, score_threshold=0.0)
    outside = [[70.0, 10.0, 90.0, 40.0], [-50.0, -90.0, -10.0, -5.0]]
    across = [[-30.0, -20.0, 6.0, 30.0], [50.0, 60.0, 140.0, 200.0]]
    expected = host(frame, [*outside, *across])
    np.testing.assert_allclose(expected.boxes, across)
    for _ in range(3):
        same(device(frame, [outside[0], *across, outside[1]]), expected)
    cupy.launches.clear()
    assert len(device(frame, outside)) == 0
    assert cupy.launches == []


@pytest.mark.parametrize("kernel", ["crop_persons", "decode_heatmaps", "oks_nms"])
def test_a_launch_that_fails_is_raised_at_its_call(
    model: Path, frame: np.ndarray, cupy: Any, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    host, device = both(lambda kind: kind(model))
    expected = host(frame, BOXES)
    start = cupy.RawKernel.__call__

    def fail(self: Any, *arguments: Any) -> None:
        if self.name.startswith(kernel):
            raise RuntimeError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")
        start(self, *arguments)

    for _ in range(2):
        with monkeypatch.context() as broken:
            broken.setattr(cupy.RawKernel, "__call__", fail)
            with pytest.raises(RuntimeError, match="OUT_OF_RESOURCES"):
                device(frame, BOXES)
    for _ in range(3):
        same(device(frame, BOXES), expected)


def test_a_graph_whose_launch_fails_is_raised_at_its_call(
    model: Path, frame: np.ndarray, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, device = both(lambda kind: kind(model))
    for _ in range(3):
        device(frame, BOXES)
    assert cupy.Graph.launched > 0

    def fail(self: Any, stream: Any = None) -> None:
        raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED")

    with monkeypatch.context() as broken:
        broken.setattr(cupy.Graph, "launch", fail)
        with pytest.raises(RuntimeError, match="LAUNCH_FAILED"):
            device(frame, BOXES)
    same(device(frame, BOXES), host(frame, BOXES))


def test_frames_of_a_batch_share_launches(model: Path, frame: np.ndarray, cupy: Any) -> None:
    host, device = both(lambda kind: kind(model))
    frames = [frame, frame[:40, :50], frame[10:]]
    boxes: list[Any] = [BOXES[:2], [], BOXES[1:2]]
    expected = host.batch(frames, boxes)
    cupy.synchronisations.clear()
    for found, wanted in zip(device.batch(frames, boxes), expected, strict=True):
        same(found, wanted)
    assert cupy.synchronisations == ["stream"]
    assert cupy.launches.count("oks_nms") == 1


def test_buffers_are_made_once_a_bucket(model: Path, frame: np.ndarray) -> None:
    engine = StandInEngine(model, max_batch=8)
    device = PoseEstimator(engine, detector=None)
    for people in (3, 4, 1, 8, 5, 7, 2, 20, 12, 3):
        device(frame, crowd(people))
    assert sorted(engine.bound) == [1, 2, 4, 8]


def test_a_graph_that_cannot_be_recorded(
    model: Path, frame: np.ndarray, cupy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = StandInEngine(model)
    engine.broken = True
    device = PoseEstimator(engine, detector=None)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert len(device(frame, BOXES)) > 0
    assert [r.message for r in caplog.records if "graph" in r.message] == [
        "No CUDA graph here, launches go on one by one: operation not permitted when stream is"
        " capturing"
    ]
    assert cupy.Graph.launched == 0
    eager = PoseEstimator(StandInEngine(model, capturable=False), detector=None)
    for _ in range(3):
        eager(frame, BOXES)
    assert cupy.Graph.launched == 0


def test_stages_are_timed_by_events_on_request(
    model: Path, frame: np.ndarray, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cupy.cuda, "get_elapsed_time", lambda before, after: 7.0)
    device = PoseEstimator(StandInEngine(model, capturable=False), detector=None)
    device(frame, BOXES)
    assert device.timings["infer"] > 0
    assert device.timings["crop"] == device.timings["decode"] == 0
    device.stage_events = True
    device(frame, BOXES)
    assert all(device.timings[stage] == 7 for stage in ("crop", "infer", "decode"))
    assert device.timings["suppress"] > 7  # and the host's part
    device.stage_events = False
    device(frame, BOXES)
    assert device.timings["crop"] == 0


def test_simcc_and_ensembles(tmp_path: Path, model: Path, frame: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random((1, 17, 48)), rng.random((1, 17, 64))]
    path = constant_model(
        tmp_path / "s.onnx", replace(SPEC, kind="simcc", transform="msra"), (24, 32), parts
    )
    expected = PoseEstimator(path, detector=None)(frame, BOXES[:1])
    found = PoseEstimator(StandInEngine(path, max_batch=1), detector=None)(frame, BOXES[:1])
    same(found, expected)
    dim = brightness_model(tmp_path / "n.onnx", replace(SPEC, mean=(9.0, 9.0, 9.0)), size=(24, 32))
    host, device = both(lambda kind: [kind(model), kind(dim)], flip_test=True)
    same(device(frame, BOXES), host(frame, BOXES))


def test_what_the_kernels_cannot_do_is_done_on_the_host(
    tmp_path: Path, model: Path, frame: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    coarse = brightness_model(tmp_path / "c.onnx", SPEC, size=(24, 32), stride=2)
    mixed = PoseEstimator([StandInEngine(model), StandInEngine(coarse)], detector=None)
    assert "on the host" in caplog.text
    same(mixed(frame, BOXES), PoseEstimator([model, coarse], detector=None)(frame, BOXES))
    with pytest.raises(InputError, match="lies on a CUDA device"):
        mixed(emulated_cupy.asarray(frame))
    PoseEstimator(StandInEngine(model, max_batch=1), detector=None, flip_test=True)
    assert "flip_test needs" in caplog.text


def test_threads_have_streams_of_their_own(model: Path, frame: np.ndarray, cupy: Any) -> None:
    host, device = both(lambda kind: kind(model))
    engine = device._networks[0].engine
    wrong: list[Any] = []

    def work(i: int) -> None:
        boxes = BOXES[: 1 + i % 3]
        expected = host(frame, boxes)
        try:
            for _ in range(5):
                same(device(frame, boxes), expected)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(engine.bound) == [1, 2, 4]  # one bucket in each of three threads
