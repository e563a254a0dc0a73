"""A tiny data set of drawn people, and a recipe that trains on it in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

RECIPE = """
name = "drawn"
seed = 3
[network]
encoder = "efficientnet-lite0"
channels = [16, 16, 16]
[augmentation]
colour = 0.2
[optimizer]
batch = 4
ema = 0.9
weight_decay = 1e-4
clip = 1.0
[[data]]
annotations = "labels.json"
images = "images"
[[stage]]
size = [64, 64]
epochs = 2
rate = 2e-3
encoder_rate = 0
[[stage]]
size = [96, 128]
epochs = 1
rate = 1e-3
[validation]
annotations = "labels.json"
images = "images"
every = 3
"""


def draw_people(folder: Path) -> Path:
    """Fill ``folder`` with 8 images of one figure of 17 dots each, labels.json, recipe.toml."""
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(8):
        frame = np.full((160, 120, 3), 60, np.uint8)
        points = rng.uniform([20, 20], [100, 140], (17, 2)).round()
        for x, y in points.astype(int).tolist():
            cv2.circle(frame, (x, y), 4, (200, 220, 240), -1)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), frame)
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 160})
        keypoints = np.column_stack([points, np.full(17, 2)]).ravel().tolist()
        annotations.append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [15, 15, 90, 130],
                "area": 6000,
                "num_keypoints": 17,
                "keypoints": keypoints,
            }
        )
    data = {"images": images, "annotations": annotations, "categories": []}
    (folder / "labels.json").write_text(json.dumps(data))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder
