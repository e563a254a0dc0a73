"""A drawn object of five keypoints, labelled as an annotation tool would export it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NAMES = ["top", "left_wing", "right_wing", "middle", "tail"]
SHAPE = np.array([[0, -40], [-26, -8], [26, -8], [0, -8], [0, 44]], float)
SIZE = 160


def draw_kites(folder: Path, count: int) -> Path:
    """Fill ``folder`` with images of one kite each, turned by up to 25 degrees, and labels.json."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(1, count + 1):
        turn, scale = np.deg2rad(rng.uniform(-25, 25)), rng.uniform(0.8, 1.3)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = SHAPE * scale @ rotation.T + SIZE / 2 + rng.uniform(-12, 12, 2)
        low, high = points.min(0) - 6, points.max(0) + 6
        name = f"kite {i}.png"
        assert cv2.imwrite(str(folder / "images" / name), draw_kite(points, rng))
        images.append({"id": i, "file_name": name, "width": SIZE, "height": SIZE})
        keypoints = np.column_stack([points, np.full(5, 2)]).ravel().tolist()
        annotations.append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "bbox": [*low, *(high - low)],
                "keypoints": keypoints,
            }
        )
    category = {"id": 1, "name": "kite", "keypoints": NAMES, "skeleton": [[1, 4], [4, 5], [2, 3]]}
    data = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "labels.json").write_text(json.dumps(data))
    return folder


def draw_kite(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the kite of these keypoints (5, 2) on noise."""
    frame = rng.integers(0, 90, (SIZE, SIZE, 3), np.uint8)
    top, left, right, middle, tail = points.round().astype(np.int32)
    cv2.fillPoly(frame, [np.array([top, left, tail, right])], (60, 170, 230))
    cv2.line(frame, top.tolist(), tail.tolist(), (20, 20, 120), 2)
    cv2.line(frame, left.tolist(), right.tolist(), (20, 20, 120), 2)
    cv2.circle(frame, top.tolist(), 5, (240, 240, 240), -1)
    cv2.circle(frame, middle.tolist(), 4, (30, 200, 30), -1)
    return frame
