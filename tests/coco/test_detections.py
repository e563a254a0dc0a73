from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pcr_rt.coco.detections import boxes_by_image, load_detections
from pcr_rt.coco.evaluation import evaluate
from pcr_rt.errors import DataError

coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_boxes_of_people_by_image(tmp_path: Path) -> None:
    records = [
        {"image_id": 4, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5, "extra": 1},
        {"image_id": 4, "category_id": 17, "bbox": [1, 2, 3, 4], "score": 0.9},
        {"image_id": 9, "bbox": [0, 0, 5, 5], "score": 0.1},
        {"image_id": 4, "category_id": 1, "bbox": [9, 9, 0, 4], "score": 0.5},
        {"image_id": 4, "category_id": 3, "bbox": [5, 5, 1, 1], "score": 0.7},
    ]
    found = boxes_by_image(write(tmp_path / "d.json", records), frozenset({1, 3}))
    assert found.keys() == {4, 9}
    np.testing.assert_array_equal(found[4], [[1, 2, 4, 6, 0.5], [5, 5, 6, 6, 0.7]])
    np.testing.assert_array_equal(found[9], [[0, 0, 5, 5, 0.1]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "holds no detections"),
        ("[1]", "holds no detections"),
        ("nothing", "cannot be read as JSON"),
        ('[{"image_id": 1, "bbox": [1, 2, 3], "score": 1}]', "detection 0 "),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4]}]', "detection 0 "),
        ('[{"bbox": [1, 2, 3, 4], "score": 1}]', "detection 0 "),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "d.json").write_text(content)
    with pytest.raises(DataError, match=words):
        boxes_by_image(tmp_path / "d.json", None)
    with pytest.raises(DataError, match="does not exist"):
        load_detections(tmp_path / "none.json")


def test_categories_are_those_of_the_annotations(tmp_path: Path) -> None:
    """People are category 0 in both files, dogs are 1."""
    box = {"image_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}
    file = write(tmp_path / "d.json", [{**box, "category_id": 0}, {**box, "category_id": 1}, box])
    assert len(boxes_by_image(file, frozenset({0}))[1]) == 2
    assert len(boxes_by_image(file, None)[1]) == 2  # COCO's own id
    with pytest.raises(DataError, match="holds 2 of category 1, but people are category 7"):
        dogs = write(tmp_path / "dogs.json", [{**box, "category_id": 1}] * 2)
        boxes_by_image(dogs, frozenset({7}))


def test_ids_may_be_written_as_strings(tmp_path: Path) -> None:
    record = {"image_id": "000000000785", "category_id": "1", "bbox": ["1", "2", 3, 4.5]}
    file = write(tmp_path / "d.json", [{**record, "score": "0.25"}])
    found = boxes_by_image(file, frozenset({1}), {785})
    np.testing.assert_array_equal(found[785], [[1, 2, 4, 6.5, 0.25]])
    with pytest.raises(DataError, match="1 detections on 1 images, such as 785, none of which"):
        boxes_by_image(file, frozenset({1}), {1, 2})


@pytest.mark.parametrize("score", [-0.1, 2.0, 87, 1e39, "high", [0.5], True])
def test_scores_are_of_0_to_1(tmp_path: Path, score: Any) -> None:
    record = {"image_id": 1, "bbox": [0, 0, 5, 5], "score": score}
    with pytest.raises(DataError, match=r"d\.json: detection 0 .*'score' must "):
        load_detections(write(tmp_path / "d.json", [record]))
    assert load_detections(tmp_path / "d.json", lenient=True) == [record]


class Poses:
    def __init__(self, boxes: np.ndarray, offset: np.ndarray) -> None:
        self.boxes, self.offset = boxes, offset

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        return [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": np.column_stack(
                    [box[:2] + self.offset * (box[2:4] - box[:2]), np.ones(17)]
                )
                .ravel()
                .tolist(),
                "score": float(box[4]),
            }
            for box in self.boxes
        ]


def test_ap_with_given_boxes_is_pycocotools_with_crowds_unlabelled_and_empty(
    tmp_path: Path,
) -> None:
    """Images with people, a crowd, people without keypoints, nobody, and without detections."""
    rng = np.random.default_rng(0)
    offset = rng.uniform(0.1, 0.9, (17, 2))
    images, people, detections = [], [], []
    for number in range(1, 13):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((200, 200, 3), np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": 200, "height": 200})
        for _ in range(0 if number == 3 else 3):
            corner, size = rng.uniform(0, 80, 2), rng.uniform(40, 110, 2)
            pose = np.column_stack([corner + offset * size, np.full(17, 2.0)])
            kind = rng.choice(["labelled", "labelled", "crowd", "unlabelled"])
            pose[:, 2] *= kind != "unlabelled"
            people.append(
                {
                    "id": len(people) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [*corner, *size],
                    "area": float(size.prod() * 0.5),
                    "iscrowd": int(kind == "crowd"),
                    "num_keypoints": 17 * (kind != "unlabelled"),
                    "keypoints": pose.ravel().tolist(),
                }
            )
            if number != 5:
                moved = corner + rng.normal(0, 3, 2)
                detections.append(
                    {
                        "image_id": number,
                        "category_id": 1,
                        "bbox": [*moved, *size],
                        "score": rng.random(),
                    }
                )
    detections.append(
        {"image_id": 3, "category_id": 1, "bbox": [5, 5, 50, 50], "score": rng.random()}
    )
    categories = [{"id": 1, "name": "person"}]
    labels = write(
        tmp_path / "labels.json",
        {"images": images, "annotations": people, "categories": categories},
    )
    file = write(tmp_path / "detections.json", detections)
    seen: list[int] = []

    def estimator(frame: Any, boxes: Any = None) -> Poses:
        seen.append(len(boxes))
        return Poses(boxes, offset)

    found, results = evaluate(estimator, labels, tmp_path, boxes=file)
    assert len(seen) == 11  # every image with a detection, also the one without a person
    assert len(results) == sum(seen) == len(detections)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(labels))
        official = cocoeval.COCOeval(truth, truth.loadRes(results), "keypoints")
        official.evaluate()
        official.accumulate()
        official.summarize()
    ours = [v for v in found.to_dict().values()][:10]
    np.testing.assert_allclose(ours, official.stats, atol=1e-6)
    assert 0.1 < found.ap < 0.9


@pytest.mark.shared
def test_detector_boxes_from_a_file_give_the_ap_of_the_detector(
    shared: Path, tmp_path: Path
) -> None:
    """The file's boxes are what the detector found: AP is the same as with the detector itself."""
    from pcr_rt import PoseEstimator
    from pcr_rt.inference.detector import Detector
    from pcr_rt.media import read_image

    data = shared / "data"
    labels = json.loads((data / "coco_val.json").read_text())
    records = labels["images"][:4]
    ids = [record["id"] for record in records]
    detector = Detector()
    detections = []
    for record in records:
        boxes, scores = detector([read_image(data / "coco_val" / record["file_name"])], 0.3)[0]
        for (x1, y1, x2, y2), score in zip(boxes, scores, strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            detections.append({"image_id": record["id"], "bbox": box, "score": float(score)})
    file = write(tmp_path / "detections.json", detections)
    aps = []
    for boxes, finder in (("detector", detector), (file, None)):
        estimator = PoseEstimator(detector=finder, score_threshold=0.3)
        found, _ = evaluate(
            estimator,
            data / "coco_val.json",
            data / "coco_val",
            boxes=boxes,  # type: ignore[arg-type]
            image_ids=ids,
        )
        aps.append(found.ap)
    assert aps[0] == pytest.approx(aps[1], abs=1e-9)
