from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pcr_rt.coco.evaluation import evaluate
from pcr_rt.errors import DataError, InputError

POSE = np.column_stack([np.linspace(10, 90, 17), np.linspace(20, 180, 17), np.full(17, 2.0)])


def person(image_id: int, box: list[int], **fields: Any) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "bbox": box,
        "area": 6400,
        "keypoints": POSE.ravel().tolist(),
    } | fields


class FakePoses:
    def __init__(self, poses: list[Any], scores: list[float]) -> None:
        self.poses, self.scores = poses, scores

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        return [
            {"image_id": image_id, "keypoints": pose.ravel().tolist(), "score": score}
            for pose, score in zip(self.poses, self.scores, strict=True)
        ]


class FakeEstimator:
    """Finds ``poses`` on every frame; remembers what it was asked."""

    def __init__(self, poses: list[Any], scores: list[float]) -> None:
        self.found = FakePoses(poses, scores)
        self.asked: list[tuple[int, Any]] = []

    def __call__(self, frame: Any, boxes: Any = None) -> FakePoses:
        assert frame.shape == (40, 30, 3)
        assert frame.dtype == np.uint8
        self.asked.append((int(frame[0, 0, 0]), None if boxes is None else boxes.tolist()))
        return self.found


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Images 1 to 4, whose blue is their id: a person, a crowd, nobody, a person and one without
    keypoints."""
    for image_id in (1, 2, 3, 4):
        frame = np.full((40, 30, 3), (image_id, 0, 200), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{image_id}.png"), frame)
    images = [{"id": i, "file_name": f"{i}.png"} for i in (1, 2, 3, 4)]
    people = [
        person(1, [5, 6, 20, 30]),
        person(2, [0, 0, 30, 40], iscrowd=1),
        person(4, [1, 2, 3, 4]),
        person(4, [0, 0, 9, 9], num_keypoints=0),
    ]
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": people}))
    return tmp_path


def test_an_estimator_gets_the_boxes_of_the_labelled_people(labelled: Path) -> None:
    estimator, seen = FakeEstimator([POSE], [0.5]), []
    found, results = evaluate(
        estimator, labelled / "labels.json", labelled, progress=lambda *at: seen.append(at)
    )
    assert estimator.asked == [(1, [[5, 6, 25, 36]]), (4, [[1, 2, 4, 6]])]
    assert seen == [(1, 2), (2, 2)]
    assert [r["image_id"] for r in results] == [1, 4]
    assert (found.ap, found.people, found.results) == pytest.approx((1, 2, 2))


def test_an_estimator_with_a_detector_sees_every_image(labelled: Path) -> None:
    scores = [0.01 * i for i in range(25)]
    estimator = FakeEstimator([POSE] + [POSE + 500] * 24, scores)
    found, results = evaluate(estimator, labelled / "labels.json", labelled, boxes="detector")
    assert estimator.asked == [(i, None) for i in (1, 2, 3, 4)]
    assert len(results) == found.results == 80
    assert sorted(r["score"] for r in results if r["image_id"] == 3) == scores[5:]
    assert found.ap == 0  # the right pose was the least of 25


def test_an_estimator_on_some_images(labelled: Path) -> None:
    estimator = FakeEstimator([POSE], [0.5])
    found, _ = evaluate(estimator, labelled / "labels.json", labelled, image_ids=[2, 4])
    assert [image for image, _ in estimator.asked] == [4]
    assert (found.ap, found.people) == pytest.approx((1, 1))


def test_images_of_another_size_than_the_labels(labelled: Path) -> None:
    data = json.loads((labelled / "labels.json").read_text())
    height, width = 40, 30
    for image in data["images"]:
        image |= {"width": height, "height": width}  # as of an image that was turned
    (labelled / "labels.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=f"4.png has {width}x{height} pixels, .* {height}x{width}:"):
        estimator = FakeEstimator([POSE], [0.5])
        evaluate(estimator, labelled / "labels.json", labelled, image_ids=[4])


def test_wrong_input_of_evaluate(labelled: Path) -> None:
    estimator = FakeEstimator([POSE], [0.5])
    with pytest.raises(InputError, match="'ground-truth' or 'detector'"):
        evaluate(estimator, labelled / "labels.json", labelled, boxes="both")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not exist"):
        evaluate(estimator, labelled / "none.json", labelled)
    (labelled / "4.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"4\.png is no image"):
        evaluate(estimator, labelled / "labels.json", labelled)
    (labelled / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png cannot be opened"):
        evaluate(estimator, labelled / "labels.json", labelled)
