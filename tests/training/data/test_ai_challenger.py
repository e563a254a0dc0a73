from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from label_files import IMAGE, ai_challenger, read
from pcr_rt.errors import DataError
from pcr_rt.skeleton import KEYPOINTS


def test_ai_challenger_by_name_and_visibility(tmp_path: Path) -> None:
    (tmp_path / f"{ai_challenger()['image_id']}.jpg").write_bytes(IMAGE)
    (person,) = read(tmp_path, [ai_challenger()], format="ai_challenger", weight=0.5)
    np.testing.assert_array_equal(person.box, [10, 20, 40, 80])
    # The official order, numbered from 1; visibility here is 2, 3, 1, 2, 3, 1, ... and 3 is absent.
    official = {
        "right_shoulder": 1,
        "right_wrist": 3,
        "left_shoulder": 4,
        "left_wrist": 6,
        "right_hip": 7,
        "right_ankle": 9,
        "left_hip": 10,
        "left_ankle": 12,
    }
    expected = np.zeros(17)
    for name, number in official.items():
        slot = KEYPOINTS.index(name)
        expected[slot] = 0.5
        np.testing.assert_array_equal(person.keypoints[slot], [number, 10 * number])
    np.testing.assert_array_equal(person.weights, expected)


def test_broken_ai_challenger_records_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{ai_challenger()['image_id']}.jpg").write_bytes(IMAGE)
    (tmp_path / "b.jpg").write_bytes(IMAGE)
    records = [
        ai_challenger(),
        ai_challenger(image_id="b", human_annotations={}),
        ai_challenger(image_id="gone"),
        ai_challenger(image_id="b", keypoint_annotations={"human1": [1, 2, 3]}),
        "text",
    ]
    for bad, name in zip(records[1:], ("image b", "gone", "b/human1", "Record 0"), strict=True):
        with pytest.raises(DataError, match=name):
            read(tmp_path, [bad], format="ai_challenger")
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path, records, format="ai_challenger", broken="skip")) == 1
    for name in ("image b", "gone", "b/human1", "Record 4"):
        assert name in caplog.text
    with pytest.raises(DataError, match="list"):
        read(tmp_path, {}, format="ai_challenger")
