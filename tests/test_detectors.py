from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pcr_rt.detectors import Detector, as_boxes
from pcr_rt.errors import InputError, ModelError


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
    """Recall at IoU 0.5 of large people, on 30 labelled pictures."""
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
