"""The whole path where the answer is known: a model that sees red finds a red blob."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt.calibration import Calibration
from pcr_rt.errors import InputError, ModelError
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.inference.selection import person_scores
from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import Skeleton
from toys import PLAIN, blob_frame, brightness_model, constant_model

BOX = [60, 40, 120, 120]
BLOB = (84.3, 77.6)


def spec(**change: Any) -> ModelSpec:
    return ModelSpec("toy", "heatmap", (48, 64), **{**PLAIN, **change})


@pytest.fixture(scope="module", params=["udp", "msra", "msra-stride-4"])
def estimator(request: pytest.FixtureRequest, tmp_path_factory: Any) -> PoseEstimator:
    path = tmp_path_factory.mktemp("toys") / f"{request.param}.onnx"
    if request.param == "msra-stride-4":
        big = ModelSpec("toy", "heatmap", (192, 256), transform="msra", **PLAIN)
        brightness_model(path, big, stride=4, size=(192, 256))
    else:
        brightness_model(path, spec(transform=request.param))
    return PoseEstimator(path, detector=None, score_threshold=0.1, nms=None)


def test_finds_the_blob_where_it_is(estimator: PoseEstimator) -> None:
    poses = estimator(blob_frame((200, 160), BLOB), boxes=[BOX])
    assert len(poses) == 1
    # 0.1 frame pixels: the blob is rounded to grey levels, and one sample is 1.6 to 2 pixels.
    np.testing.assert_allclose(poses.keypoints[0], np.tile(BLOB, (17, 1)), atol=0.1)
    np.testing.assert_allclose(
        poses.keypoint_scores[0], np.arange(1, 18) / 17 * 250 / 255, rtol=0.05
    )
    np.testing.assert_array_equal(poses.boxes, [BOX])
    assert poses.image_size == (200, 160)


def test_whole_frame_is_the_box_without_a_detector(estimator: PoseEstimator) -> None:
    poses = estimator(blob_frame((90, 120), (30.0, 70.0), sigma=9))
    np.testing.assert_array_equal(poses.boxes, [[0, 0, 90, 120]])
    np.testing.assert_allclose(poses.keypoints[0], np.tile((30.0, 70.0), (17, 1)), atol=0.2)


def test_flip_test_swaps_sides_and_keeps_the_place(estimator: PoseEstimator) -> None:
    engine = estimator._networks[0].engine
    mirrored = PoseEstimator(engine, detector=None, score_threshold=0.1, nms=None, flip_test=True)
    poses = mirrored(blob_frame((200, 160), BLOB), boxes=[BOX])
    np.testing.assert_allclose(poses.keypoints[0], np.tile(BLOB, (17, 1)), atol=0.1)
    # Joint 1's map has height 2/17, its mirror partner's 3/17: both become the average.
    level = poses.keypoint_scores[0]
    assert level[1] == pytest.approx(level[2], rel=1e-3)
    assert level[1] / level[0] == pytest.approx(2.5, rel=0.01)


def test_batch_equals_one_frame_at_a_time(estimator: PoseEstimator) -> None:
    frames = [
        blob_frame((200, 160), BLOB),
        blob_frame((120, 240), (50, 100)),
        blob_frame((64, 64), (9, 9)),
    ]
    boxes = [[BOX, [80, 70, 180, 150]], [[20, 40, 90, 160]], []]
    together = estimator.batch(frames, boxes)
    assert [len(p) for p in together] == [2, 1, 0]
    for frame, own, poses in zip(frames, boxes, together, strict=True):
        alone = estimator(frame, boxes=own)
        np.testing.assert_allclose(alone.keypoints, poses.keypoints, atol=1e-4)
        np.testing.assert_allclose(alone.scores, poses.scores, atol=1e-6)


def test_nobody_is_an_empty_result_and_never_a_phantom(estimator: PoseEstimator) -> None:
    blank = np.zeros((100, 80, 3), np.uint8)
    for poses in (estimator(blank), estimator(blank, boxes=[]), estimator(blank, boxes=[BOX])):
        assert len(poses) == 0
        assert poses.keypoints.shape == (0, 17, 2)
        assert poses.image_size == (80, 100)
    assert estimator.batch([]) == []


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((10, 10), np.uint8), "COLOR_GRAY2BGR"),
        (np.zeros((10, 10, 1), np.uint8), "COLOR_GRAY2BGR"),
        (np.zeros((10, 10, 4), np.uint8), "COLOR_BGRA2BGR"),
        (np.zeros((3, 10, 10), np.uint8), "height, width, 3"),
        (np.zeros((10, 10, 3), np.float32), "float32"),
        (np.zeros((0, 10, 3), np.uint8), "empty"),
        ([[1, 2, 3]], "list"),
        (None, "NoneType"),
    ],
)
def test_frames_that_are_none(estimator: PoseEstimator, frame: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        estimator(frame)


def test_any_strides_of_a_frame(estimator: PoseEstimator) -> None:
    frame = blob_frame((200, 160), BLOB)
    doubled = np.repeat(np.repeat(frame, 2, 0), 2, 1)[::2, ::2]
    turned = np.ascontiguousarray(frame[..., ::-1])[..., ::-1]
    for view in (doubled, turned):
        assert not view.flags.c_contiguous
        np.testing.assert_array_equal(
            estimator(view, boxes=[BOX]).keypoints, estimator(frame, boxes=[BOX]).keypoints
        )


def test_duplicates_are_suppressed_and_order_is_that_of_the_boxes(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", spec())
    frame = np.maximum(blob_frame((200, 160), (50, 60)), blob_frame((200, 160), (150, 60)))
    boxes = [[20, 20, 80, 100, 0.5], [120, 20, 180, 100, 0.9], [21, 20, 81, 100, 0.7]]
    hard = PoseEstimator(path, detector=None, score_threshold=0.01)(frame, boxes=boxes)
    np.testing.assert_array_equal(hard.boxes, np.array(boxes)[[1, 2], :4])
    every = PoseEstimator(path, detector=None, score_threshold=0.01, nms=None)(frame, boxes=boxes)
    np.testing.assert_array_equal(every.boxes, np.array(boxes)[:, :4])
    soft = PoseEstimator(path, detector=None, score_threshold=0.01, nms="soft")(frame, boxes=boxes)
    assert len(soft) == 3
    assert soft.scores[0] < every.scores[0]
    best = PoseEstimator(path, detector=None, score_threshold=0.01, max_people=1)
    np.testing.assert_array_equal(best(frame, boxes=boxes).boxes, [boxes[1][:4]])


def test_score_threshold_is_on_box_times_keypoints(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", spec())
    frame = blob_frame((200, 160), BLOB)
    (whole,) = PoseEstimator(path, detector=None, score_threshold=0)(frame, boxes=[BOX]).scores
    # The squares 1..17 add up to 1785, their mean is 105.
    assert whole == pytest.approx(105**0.5 / 17 * 250 / 255, rel=0.05)
    sure = PoseEstimator(path, detector=None, score_threshold=float(whole) * 0.6)
    assert len(sure(frame, boxes=[[*BOX, 0.61]])) == 1
    assert len(sure(frame, boxes=[[*BOX, 0.59]])) == 0


def test_box_threshold_is_on_what_the_detector_says_alone(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", spec())
    frame = blob_frame((200, 160), BLOB)

    def find(frame: Any) -> Any:
        return [[*BOX, 0.41], [20, 20, 80, 100, 0.39]]

    options: dict[str, Any] = {"detector": find, "score_threshold": 0.0, "nms": None}
    assert len(PoseEstimator(path, **options)(frame)) == 2
    some = PoseEstimator(path, **options, box_threshold=0.4)
    np.testing.assert_array_equal(some(frame).boxes, [BOX])
    assert len(some(frame, boxes=find(frame))) == 2  # the caller's are looked at as they are


def test_default_score_threshold_is_a_probability_if_the_model_has_a_calibration(
    tmp_path: Path,
) -> None:
    calibration = Calibration(((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (0.2, 0.5), (1.0, 0.6)))
    raw = brightness_model(tmp_path / "raw.onnx", spec(person_score="mean"))
    path = brightness_model(tmp_path / "m.onnx", spec(person_score="mean", calibration=calibration))
    frame = blob_frame((200, 160), BLOB)
    # The keypoint scores are 1/17 to 17/17 of 250/255: their mean is 0.519.
    boxes = [[*BOX, score] for score in (0.24, 0.3, 0.36, 0.42)]
    counts = {
        name: len(PoseEstimator(model, detector=None, nms=None, **options)(frame, boxes=boxes))
        for name, model, options in (
            ("raw", raw, {}),
            ("calibrated", path, {}),
            ("uncalibrated", path, {"calibrated": False}),
            ("all", path, {"score_threshold": 0.0}),
        )
    }
    # From raw 0.14 on box scores of 0.27, from a probability of 0.5 on those of 0.39.
    assert counts == {"raw": 3, "calibrated": 1, "uncalibrated": 3, "all": 4}
    estimator = PoseEstimator(path, detector=None)
    assert (estimator.score_threshold, estimator.score_kind) == (0.5, "probability")
    nobody = estimator(frame, boxes=[])
    assert nobody.score_kind == "probability"
    assert PoseEstimator(raw, detector=None)(frame, boxes=[]).score_kind == "raw"


def test_ensemble_averages_networks_of_different_sizes(tmp_path: Path) -> None:
    models = [
        brightness_model(tmp_path / "a.onnx", spec()),
        brightness_model(
            tmp_path / "b.onnx",
            ModelSpec("b", "heatmap", (72, 96), transform="msra", **PLAIN),
            size=(72, 96),
        ),
    ]
    frame = blob_frame((200, 160), BLOB)
    for flip_test in (False, True):
        both = PoseEstimator(models, detector=None, score_threshold=0.01, flip_test=flip_test)
        poses = both(frame, boxes=[BOX])
        np.testing.assert_allclose(poses.keypoints[0], np.tile(BLOB, (17, 1)), atol=0.15)


@pytest.mark.parametrize("flip_test", [False, True])
def test_ensemble_of_tall_and_square_networks(tmp_path: Path, flip_test: bool) -> None:
    """Each person's crops differ in their own way: the box is widened to one shape or the other."""
    square = ModelSpec("square", "heatmap", (64, 64), **PLAIN)
    models = [
        brightness_model(tmp_path / "tall.onnx", spec()),
        brightness_model(tmp_path / "square.onnx", square, size=(64, 64)),
    ]
    places = [(100.0, 90.0), (300.0, 250.0)]
    frame = np.maximum(*(blob_frame((320, 400), place) for place in places))
    estimator = PoseEstimator(models, detector=None, score_threshold=0.01, flip_test=flip_test)
    poses = estimator(frame, boxes=[[70, 30, 130, 170], [220, 215, 400, 285]])
    for found, place in zip(poses.keypoints, places, strict=True):
        np.testing.assert_allclose(found, np.tile(place, (17, 1)), atol=0.5)


def test_simcc_models_are_read(tmp_path: Path) -> None:
    x, y = np.zeros((1, 17, 384)), np.zeros((1, 17, 512))
    x[0, :, 100], y[0, :, 300] = 0.9, 0.8
    path = constant_model(tmp_path / "simcc.onnx", None, (192, 256), [x, y])
    poses = PoseEstimator(path, detector=None)(
        np.zeros((256, 192, 3), np.uint8), [[0, 0, 192, 256]]
    )
    # Input pixel (50, 150) of a crop padded by 1.25: x = 96 + (50 / 192 - 1/2) 240.
    expected = [96 + (50 / 192 - 0.5) * 240, 128 + (150 / 256 - 0.5) * 320]
    np.testing.assert_allclose(poses.keypoints[0], np.tile(expected, (17, 1)), atol=1e-3)
    np.testing.assert_allclose(poses.keypoint_scores, 0.8, rtol=1e-6)


def test_callable_detector(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", spec())
    frame = blob_frame((200, 160), BLOB)
    poses = PoseEstimator(path, detector=lambda f: [[*BOX, 0.5]], score_threshold=0.01)(frame)
    np.testing.assert_array_equal(poses.boxes, [BOX])
    with pytest.raises(InputError, match="shape"):
        PoseEstimator(path, detector=lambda f: [[1, 2]])(frame)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nms": "fast"}, "nms"),
        ({"decode": "subpixel"}, "decode"),
        ({"precision": "fp8"}, "precision"),
        ({"max_people": 0}, "max_people"),
        ({"max_people": 1.5}, "max_people is 1.5"),
        ({"score_threshold": "0.3"}, "score_threshold"),
        ({"score_threshold": float("nan")}, "score_threshold is nan"),
        ({"oks_threshold": -1}, "oks_threshold"),
        ({"box_threshold": None}, "box_threshold is None"),
        ({"box_threshold": float("inf")}, "box_threshold is inf"),
        ({"oks_threshold": 0, "nms": "soft"}, "oks_threshold is 0"),
        ({"detector": 5}, "detector is 5"),
        ({"device": 0}, "device is 0"),
        ({"model": None}, "model is None"),
        ({"device": "tpu"}, "device"),
        ({"model": []}, "empty"),
        ({"model": ["pcr-tiny"] * 2, "precision": "int4"}, "int4"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PoseEstimator(**options)


def test_models_of_the_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="detector"):
        PoseEstimator("rtmdet-nano")
    with pytest.raises(ModelError, match="does not exist"):
        PoseEstimator(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("mean", 0.3), ("mean>0.2", 0.6), ("rms", ((0.01 + 0.04 + 0.16 + 0.64) / 5) ** 0.5)],
)
def test_person_score_rules_by_hand(rule: Any, expected: float) -> None:
    scores = np.array([[0.0, 0.1, 0.2, 0.4, 0.8]])
    assert person_scores(scores, rule)[0] == pytest.approx(expected)
    assert person_scores(np.zeros((1, 5)), rule)[0] == 0


def test_threads_share_an_estimator(tmp_path: Path) -> None:
    shared = PoseEstimator(brightness_model(tmp_path / "m.onnx", spec()), detector=None)
    wrong = []

    def work(x: float) -> None:
        frame = blob_frame((200, 160), (x, 80))
        for _ in range(10):
            poses = shared(frame, boxes=[[60, 40, 120, 120]])
            if abs(poses.keypoints[0, 16, 0] - x) > 0.2 or "infer" not in shared.timings:
                wrong.append(x)

    threads = [threading.Thread(target=work, args=(70 + 8 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_closed_estimator_says_so(tmp_path: Path) -> None:
    with PoseEstimator(brightness_model(tmp_path / "m.onnx", spec()), detector=None) as estimator:
        estimator.warmup()
    with pytest.raises(InputError, match="closed"):
        estimator(np.zeros((10, 10, 3), np.uint8))


@pytest.mark.parametrize("name", ["hand21", "halpe26", "coco_wholebody133", "ap10k17"])
def test_models_of_any_skeleton(tmp_path: Path, name: str) -> None:
    skeleton = Skeleton.load(name)
    count = len(skeleton)
    path = brightness_model(tmp_path / "toy.onnx", spec(skeleton=skeleton), joints=count)
    boxes = [BOX, BOX]  # twice the same person, for OKS-NMS
    options: dict[str, Any] = {"detector": None, "score_threshold": 0.1}
    plain = PoseEstimator(path, **options)(blob_frame((200, 160), BLOB), boxes=boxes)
    assert plain.skeleton == skeleton
    assert plain.keypoints.shape == (1, count, 2)
    mirrored = PoseEstimator(path, flip_test=True, **options)
    flipped = mirrored(blob_frame((200, 160), BLOB), boxes=boxes)
    np.testing.assert_allclose(flipped.keypoints, plain.keypoints, atol=0.05)
    # Joint k's map has the height (k + 1) / K: its mean with the map of the mirror image.
    heights = np.arange(1, count + 1) / count
    expected = (heights + heights[skeleton.flip]) / 2 * plain.keypoint_scores[0, -1]
    np.testing.assert_allclose(flipped.keypoint_scores[0], expected, rtol=0.02)


def test_a_skeleton_is_given_to_a_file_that_names_none(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "hand.onnx", None, joints=21)
    with pytest.raises(ModelError, match=r"finds 21 keypoints .* \(shipped is hand21\)"):
        PoseEstimator(path, detector=None)
    with PoseEstimator(path, detector=None, skeleton="hand21") as estimator:
        assert estimator.spec.skeleton == Skeleton.load("hand21")
        empty = estimator(np.zeros((20, 20, 3), np.uint8), boxes=np.empty((0, 4)))
        assert empty.keypoints.shape == (0, 21, 2)
    with pytest.raises(ModelError, match="finds 21 keypoints, the skeleton 'halpe26' has 26"):
        PoseEstimator(path, detector=None, skeleton="halpe26")


def test_a_model_of_something_else_with_the_detector_of_people_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = brightness_model(tmp_path / "hand.onnx", None, joints=21)
    PoseEstimator(path, detector=None, skeleton="hand21").close()
    assert not caplog.records
    PoseEstimator(path, skeleton="hand21").close()
    assert "hand finds the keypoints of a hand, but rtmdet-nano finds people" in caplog.text
    caplog.clear()
    PoseEstimator("pcr-nano").close()
    assert not caplog.records


def test_a_skeleton_of_the_same_size_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "animal.onnx", spec())
    animal = Skeleton.load("ap10k17")
    assert PoseEstimator(path, detector=None, skeleton=animal).spec.skeleton is animal
    with pytest.raises(ModelError, match=r"finds 17 .* \(coco17\), the skeleton 'aic14' has 14"):
        PoseEstimator(path, detector=None, skeleton="aic14")


def test_a_flip_test_without_pairs_is_refused(tmp_path: Path) -> None:
    own = Skeleton("cup", ("handle", "rim", "foot"))
    path = brightness_model(tmp_path / "cup.onnx", spec(skeleton=own), joints=3)
    with pytest.raises(InputError, match="'cup' does not say which of its keypoints are mirror"):
        PoseEstimator(path, detector=None, flip_test=True)


def test_an_ensemble_needs_one_skeleton(tmp_path: Path) -> None:
    people = brightness_model(tmp_path / "a.onnx", spec())
    animals = brightness_model(tmp_path / "b.onnx", spec(skeleton=Skeleton.load("ap10k17")))
    with pytest.raises(InputError, match=r"one skeleton: 'toy' .*\(coco17\), .*17 \(ap10k17\)"):
        PoseEstimator([people, animals], detector=None)


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_spec_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = brightness_model(tmp_path / "hand.onnx", None, joints=21)
    fields = {"name": "hand", "kind": "heatmap", "input_size": [48, 64], "skeleton": "hand21"}
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
    file = tmp_path / f"spec.{suffix}"
    file.write_text(text if suffix == "toml" else json.dumps(fields))
    with PoseEstimator(path, detector=None, spec=file) as estimator:
        assert estimator.spec == ModelSpec(
            "hand", "heatmap", (48, 64), skeleton=Skeleton.load("hand21")
        )
    with pytest.raises(InputError, match="A spec is of one model file"):
        PoseEstimator([path, path], detector=None, spec=file)
    with pytest.raises(ModelError, match=r"hand21.*, the skeleton 'aic14' has 14"):
        PoseEstimator(path, detector=None, spec=file, skeleton="aic14")
