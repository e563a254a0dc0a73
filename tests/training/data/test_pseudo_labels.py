from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from label_files import IMAGE, coco, read
from pcr_rt.errors import DataError


def test_pseudo_labels_keep_the_sure_keypoints(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(IMAGE)
    sure = {
        "id": 1,
        "image_id": 1,
        "bbox": [0, 0, 9, 9],
        "keypoints": [4, 5, 1] * 17,
        "keypoint_scores": [0.9, 0.899, 1.0] + [0.5] * 14,
    }
    (person,) = read(tmp_path, coco(sure), format="pseudo", min_score=0.9)
    np.testing.assert_array_equal(np.flatnonzero(person.weights), [0, 2])
    np.testing.assert_array_equal(person.amplitudes[[0, 2]], 1)
    (person,) = read(tmp_path, coco(sure), format="pseudo", min_score=0.5)
    assert person.weights.all()
    with pytest.raises(DataError, match=r"Annotation 1 .* no 'keypoint_scores'"):
        read(tmp_path, coco({k: v for k, v in sure.items() if "scores" not in k}), format="pseudo")
    with pytest.raises(DataError, match=r"Annotation 1 .* malformed"):
        read(tmp_path, coco({**sure, "keypoint_scores": [1.0]}), format="pseudo")


def test_scores_that_are_no_number_are_unsure(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(IMAGE)
    scores = [math.nan, None, *[1.0] * 15]
    annotation = {"id": 1, "image_id": 1, "bbox": [1, 2, 30, 40], "keypoint_scores": scores}
    (person,) = read(tmp_path, coco({**annotation, "keypoints": [5, 6, 2] * 17}), format="pseudo")
    np.testing.assert_array_equal(person.weights, [0, 0, *[1] * 15])
