"""Label and detection files as people have them, through the whole evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcr_rt.coco.evaluation import evaluate
from pcr_rt.errors import DataError

pytestmark = pytest.mark.shared


STANDING = np.array(
    [
        *(0.5, 0.1, 0.53, 0.08, 0.47, 0.08, 0.57, 0.09, 0.43, 0.09, 0.65, 0.22, 0.35, 0.22),
        *(0.7, 0.37, 0.3, 0.37, 0.7, 0.5, 0.3, 0.5, 0.6, 0.52, 0.4, 0.52, 0.6, 0.74),
        *(0.4, 0.74, 0.6, 0.94, 0.4, 0.94),
    ]
).reshape(17, 2)
"""Where an upright person's keypoints are, as shares of the box."""


class Upright:
    """Everybody stands in the box."""

    def __init__(self, boxes: np.ndarray) -> None:
        self.boxes = boxes

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        found = []
        for box in self.boxes:
            points = box[:2] + STANDING * (box[2:4] - box[:2])
            keypoints = np.column_stack([points, np.ones(17)]).ravel().tolist()
            found.append({"image_id": image_id, "keypoints": keypoints, "score": 0.5})
        return found


def upright(frame: np.ndarray, boxes: Any = None) -> Upright:
    assert frame.ndim == 3
    return Upright(boxes)


@pytest.mark.parametrize(
    "name",
    [
        "base",
        "x_area_zero",
        "area_str",
        "x_bbox_str",
        "x_cat_kp_null",
        "roboflow_root_same_name",
        "x_both_person",
        "nan_unlabelled",
        "bom",
        "cvat_empty_names",
        "backslash",
        "str_image_id",
        "wh_str",
    ],
)
def test_labels_that_are_read(shared: Path, name: str) -> None:
    folder = shared / "cases" / "labels"
    expected, _ = evaluate(upright, folder / "base.json", folder / "pictures")
    found, _ = evaluate(upright, folder / f"{name}.json", folder / "pictures")
    assert found.people == expected.people == 36
    # An area of 0 is replaced by an estimate, so people are matched a little otherwise.
    assert found.ap == pytest.approx(expected.ap, abs=0.02 if name == "x_area_zero" else 1e-9)
    assert found.ap > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x_cat_noid", "x_cat_noid.json: category 'person': 'id' is missing"),
        ("x_wrong_category", "category 1 (person) but hold 40 of category 7"),
        ("bbox_zero", "of image 1000 has the 'bbox' [10.0, 10.0, 0.0, 0.0] without area"),
    ],
)
def test_labels_that_are_refused(shared: Path, name: str, words: str) -> None:
    folder = shared / "cases" / "labels"
    with pytest.raises(DataError) as error:
        evaluate(upright, folder / f"{name}.json", folder / "pictures")
    assert words in str(error.value)


def test_labels_of_an_image_that_exif_turns(shared: Path) -> None:
    folder = shared / "cases" / "labels"
    assert evaluate(upright, folder / "labels_right.json", folder)[0].people > 0
    for name in ("labels_stored", "labels_upright"):
        with pytest.raises(DataError, match=r"EXIF orientation.*--ignore-exif"):
            evaluate(upright, folder / f"{name}.json", folder)
    found, _ = evaluate(upright, folder / "labels_stored.json", folder, ignore_exif=True)
    assert found.people > 0


@pytest.mark.parametrize(
    ("labels", "detections", "results"),
    [("zero_based", "people_and_dogs", 40), ("base", "str_ids", 40)],
)
def test_detections_that_are_read(shared: Path, labels: str, detections: str, results: int) -> None:
    folder = shared / "cases"
    place = "detections" if labels == "zero_based" else "labels"
    found, _ = evaluate(
        upright,
        folder / place / f"{labels}.json",
        folder / "labels" / "pictures",
        boxes=folder / "detections" / f"{detections}.json",
    )
    assert found.results == results
