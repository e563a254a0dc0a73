"""Small label files of every format, read as a recipe's data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pcr_rt.training.data.datasets import DataSet, people_from
from pcr_rt.training.data.person import Person

IMAGE = b"not read here"


def read(folder: Path, data: Any, *, broken: Any = "refuse", **options: Any) -> list[Person]:
    (folder / "labels.json").write_text(json.dumps(data))
    return people_from(DataSet("labels.json", "", **options), folder, broken)


def coco(*annotations: dict[str, Any], images: int = 1) -> dict[str, Any]:
    listed = [{"id": i, "file_name": f"{i}.jpg"} for i in range(1, images + 1)]
    return {"images": listed, "annotations": list(annotations)}


def ai_challenger(**change: Any) -> dict[str, Any]:
    """A record as the official file has it; keypoint i lies at (i, 10 i)."""
    keypoints = [value for i in range(1, 15) for value in (i, 10 * i, 1 + i % 3)]
    return {
        "image_id": "d8eeddddcc042544a2570d4c452778b912726720",
        "url": "http://none",
        "human_annotations": {"human1": [10, 20, 40, 80]},
        "keypoint_annotations": {"human1": keypoints},
        **change,
    }
