from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.inference.boxes import as_boxes, detect, fitting_size, letterboxed
from pcr_rt.inference.detector import Detector
from pcr_rt.models import ModelSpec


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[1, 2, 3]], "shape"),
        ([1, 2, 3, 4], "shape"),
        ([[1, 2, float("nan"), 9]], "NaN"),
        ([[1, 2, float("inf"), 9]], "NaN or infinite"),
        ([[5, 2, 5, 9]], "without area"),
        ([[0, 0, 9, 9], [5, 9, 8, 2]], "Box 1"),
        ("a box", "numbers"),
        ([[0, 0, 9, 9], [1]], "numbers"),
    ],
)
def test_boxes_that_make_no_sense_are_refused(boxes: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_boxes(boxes, (100, 50))  # type: ignore[arg-type]


def test_boxes_outside_are_dropped_and_those_across_the_border_kept() -> None:
    given = [[-20, 0, -1, 10], [90, 40, 120, 70], [100, 0, 110, 10], [-5, -5, 5, 5], [0, 50, 9, 60]]
    boxes, scores = as_boxes(given, (100, 50))
    np.testing.assert_array_equal(boxes, [given[1], given[3]])
    np.testing.assert_array_equal(scores, [1, 1])


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 4)), np.zeros((0, 5))])
def test_no_boxes(nothing: object) -> None:
    boxes, scores = as_boxes(nothing, (100, 50))  # type: ignore[arg-type]
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_scores_of_the_caller_are_kept() -> None:
    assert as_boxes([[0, 0, 9, 9, 0.25]], (100, 50))[1].tolist() == [0.25]


def test_pose_model_is_no_detector() -> None:
    with pytest.raises(ModelError, match="not a detector"):
        Detector("pcr-tiny")


def test_blank_frames_hold_nobody() -> None:
    frames = [np.zeros((120, 160, 3), np.uint8), np.full((90, 50, 3), 255, np.uint8)]
    assert [len(b) for b, _ in Detector()(frames)] == [0, 0]
    assert Detector()([]) == []


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["rtmdet-nano", "rtmdet_nano_person_nms_dynamic.onnx", "yolox_nano_416.onnx"]
)
def test_detectors_find_people(shared: Path, name: str) -> None:
    """Recall at IoU 0.5 of large people, on 30 labelled images."""
    path = shared / "models" / name if name.endswith(".onnx") else name
    detector = Detector(path)
    labels = json.loads((shared / "data" / "coco_val.json").read_text())
    hit = people = 0
    for image in labels["images"][:30]:
        frame = cv2.imread(str(shared / "data" / "coco_val" / image["file_name"]))
        ((boxes, _),) = detector([frame], 0.3)
        for a in labels["annotations"]:
            if a["image_id"] == image["id"] and a["area"] > 96**2 and not a.get("iscrowd"):
                x, y, w, h = a["bbox"]
                width = np.minimum(boxes[:, 2], x + w) - np.maximum(boxes[:, 0], x)
                height = np.minimum(boxes[:, 3], y + h) - np.maximum(boxes[:, 1], y)
                overlap = width.clip(0) * height.clip(0)
                union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + w * h - overlap
                hit += bool((overlap / union > 0.5).any())
                people += 1
    assert people > 15
    assert hit / people > 0.75


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("side", "expected"), [(320, 0.425), (416, 0.464)])
def test_rtmdet_nano_has_its_ap(shared: Path, side: int, expected: float) -> None:
    """Box AP; expected is that of the published export with its NMS inside, run by other code."""
    engine = OnnxRuntimeEngine("rtmdet-nano")
    engine.spec = replace(engine.spec, input_size=(side, side))
    detector = Detector(engine)
    results = []
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(shared / "data" / "coco_val.json"))
        for image in truth.dataset["images"]:
            frame = cv2.imread(str(shared / "data" / "coco_val" / image["file_name"]))
            ((boxes, scores),) = detector([frame], 0.01)
            for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist(), strict=True):
                box = [x1, y1, x2 - x1, y2 - y1]
                results.append(
                    {"image_id": image["id"], "category_id": 1, "bbox": box, "score": score}
                )
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert run.stats[0] == pytest.approx(expected, abs=0.005)


def test_rtmdet_nano_runs_at_416() -> None:
    assert Detector().spec.input_size == (416, 416)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(960, 540)], (416, 256)),  # 416 x 234
        ([(768, 576)], (416, 320)),  # 416 x 312
        ([(540, 960)], (256, 416)),
        ([(100, 100)], (416, 416)),
        ([(1, 5000)], (32, 416)),
        ([(960, 540), (768, 576)], (416, 320)),
        ([(960, 540), (540, 960)], (416, 416)),
    ],
)
def test_input_without_the_grey(sizes: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    frames = [np.zeros((h, w, 3), np.uint8) for w, h in sizes]
    assert fitting_size(frames, (416, 416)) == expected
    # The frames are as large in it as in the square.
    spec = ModelSpec("toy", "boxes", (416, 416), layout="rtmdet")
    np.testing.assert_array_equal(
        letterboxed(frames, spec, expected)[1], letterboxed(frames, spec)[1]
    )


@pytest.mark.parametrize(
    ("any_aspect", "open_sides", "size", "expected"),
    [
        (True, True, None, (256, 416)),
        (True, False, None, (416, 416)),
        (False, True, None, (416, 416)),
        (True, True, (416, 416), (416, 416)),
    ],
)
def test_only_what_takes_any_aspect_gets_it(
    any_aspect: bool, open_sides: bool, size: Any, expected: tuple[int, int]
) -> None:
    """A person of 100 x 50 pixels at (200, 100) is found there, whatever the input's size."""

    class Engine:
        spec = ModelSpec("toy", "boxes", (416, 416), layout="rtmdet", any_aspect=any_aspect)

        def run(self, images: np.ndarray) -> list[np.ndarray]:
            assert images.shape[2:] == expected
            maps = [
                np.full((1, images.shape[2] // s, images.shape[3] // s, 5), -9.0, np.float32)
                for s in (8, 16, 32)
            ]
            scale = 416 / 960
            x, y = 12, 6
            reach = [
                x * 8 - 200 * scale,
                y * 8 - 100 * scale,
                300 * scale - x * 8,
                150 * scale - y * 8,
            ]
            maps[0][0, y, x] = [3.0, *reach]
            return maps

    engine: Any = Engine()
    engine.open_sides = open_sides
    frame = np.zeros((540, 960, 3), np.uint8)
    ((boxes, scores),) = detect(engine, [frame], 0.3, size=size)
    np.testing.assert_allclose(boxes, [[200, 100, 300, 150]], atol=1e-3)
    assert len(scores) == 1
