from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from label_files import IMAGE, ai_challenger, coco, read
from pcr_rt.errors import DataError


def test_small_people_are_left_out(tmp_path: Path) -> None:
    """Boxes of 30x40, 60x10 (80 high at 3:4) and 59x79 pixels."""
    (tmp_path / "1.jpg").write_bytes(IMAGE)
    boxes = [[0, 0, 30, 40], [5, 5, 60, 10], [0, 0, 59, 79]]
    keypoints = [1, 2, 2] * 17
    data = coco(
        *(
            {"id": i, "image_id": 1, "bbox": box, "keypoints": keypoints}
            for i, box in enumerate(boxes)
        )
    )
    found = [read(tmp_path, data, min_size=size) for size in (0, 40, 80, 81)]
    assert [[p.box[2:].tolist() for p in people] for people in found] == [
        [[30, 40], [65, 15], [59, 79]],
        [[30, 40], [65, 15], [59, 79]],
        [[65, 15]],
        [],
    ]


def test_folds_need_numbers(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(IMAGE)
    (tmp_path / "5.jpg").write_bytes(IMAGE)
    good = {"id": 5, "image_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [4, 5, 1] * 17}
    data = {
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 5, "file_name": "5.jpg"}],
        "annotations": [good, {**good, "image_id": 5}],
    }
    assert [p.image_id for p in read(tmp_path, data, fold="train", repeat=2)] == [1, 1]
    assert [p.image_id for p in read(tmp_path, data, fold="dev")] == [5]
    (tmp_path / f"{ai_challenger()['image_id']}.jpg").write_bytes(IMAGE)
    with pytest.raises(DataError, match="whole numbers"):
        read(tmp_path, [ai_challenger()], format="ai_challenger", fold="dev")
