"""Square copies of COCO train2017 images as a data set: brought back to their shape, labelled.

    python benchmarks/coco_copies.py COPIES LABELS OUTPUT [--leave-out annotations.json ...]

COPIES is a folder of images that were squeezed to a square (COCO_train2014_000000000009.jpg, or
any other name that ends in the id), LABELS the .npz of all person keypoints of COCO 2017: image_id,
is_val, box_cxcywh_u16, kp_xy_u16 (both as parts of the image x 65535) and kp_v. Written are
OUTPUT.json, in COCO's format, and the images in OUTPUT/ with about as many pixels as the copies.

An image's shape is not in the labels, but follows from them: keypoints lie on whole pixels of the
original, whose longer side is mostly 640. If several shapes fit, the commonest among images
with one fit is taken; images without a known one are left out, and so are those of val2017 and
of the --leave-out files.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import BOX_FILL
from pcr_rt.geometry import Size
from pcr_rt.media import list_images, read_image
from pcr_rt.skeleton import KEYPOINTS

LONGER = 640
OTHERS = {(500, 375), (375, 500), (500, 333), (333, 500), (500, 334), (334, 500), (612, 612)}
"""Common shapes of COCO whose longer side is another."""

OFF_PIXEL = 0.013
"""How far from a whole pixel a keypoint may lie; 16 bits resolve 0.01 of 640."""

SIDES = np.arange(120, LONGER + 1)
WHOLE = 65535


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("copies", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--leave-out", type=Path, nargs="*", default=[])
    options = parser.parse_args()

    labels = dict(np.load(options.labels))
    barred = set(labels["image_id"][labels["is_val"]].tolist())
    for file in options.leave_out:
        barred |= {image["id"] for image in json.loads(file.read_text())["images"]}
    copies = {int(re.findall(r"\d+", path.stem)[-1]): path for path in list_images(options.copies)}
    rows = {i: np.flatnonzero(labels["image_id"] == i) for i in copies.keys() - barred}
    shapes = likeliest({i: fitting(labels, found) for i, found in rows.items() if len(found)})

    options.output.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, shape in sorted(shapes.items()):
        copy = read_image(copies[i])
        scale = np.sqrt(copy.shape[0] * copy.shape[1] / (shape[0] * shape[1]))
        size = round(shape[0] * scale), round(shape[1] * scale)
        image = cv2.resize(copy, size, interpolation=cv2.INTER_CUBIC)
        name = f"{i:012d}.jpg"
        cv2.imwrite(str(options.output / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append({"id": i, "file_name": name, "width": size[0], "height": size[1]})
        for row in rows[i]:
            annotations.append({"id": len(annotations) + 1, **person(labels, row, shape, size)})
    category = {"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}
    data = {"images": images, "annotations": annotations, "categories": [category]}
    options.output.with_suffix(".json").write_text(json.dumps(data))
    print(f"{len(images)} images, {len(annotations)} people")


def fitting(labels: dict[str, NDArray[Any]], rows: NDArray[np.intp]) -> list[Size]:
    """List the shapes (w, h) on whose whole pixels all keypoints of an image lie."""
    parts = labels["kp_xy_u16"][rows][labels["kp_v"][rows] > 0] / WHOLE
    if not len(parts):
        return []
    widths, heights = (whole(parts[:, axis]) for axis in (0, 1))
    pairs = [(w, h) for w in widths for h in heights]
    return [pair for pair in pairs if max(pair) == LONGER or pair in OTHERS]


def whole(parts: NDArray[np.float64]) -> list[int]:
    """List the sides of which all ``parts`` are whole pixels."""
    pixels = parts[None] * SIDES[:, None]
    return SIDES[(np.abs(pixels - pixels.round()) < OFF_PIXEL).all(1)].tolist()


def likeliest(fits: dict[int, list[Size]]) -> dict[int, Size]:
    """Choose one shape per image: of several the one that most images with a single fit have."""
    common = Counter(shapes[0] for shapes in fits.values() if len(shapes) == 1)

    def best(shapes: Iterable[Size]) -> Size:
        return max(shapes, key=lambda shape: (common[shape], -abs(shape[0] - shape[1])))

    return {i: best(shapes) for i, shapes in fits.items() if shapes}


def person(
    labels: dict[str, NDArray[Any]], row: np.intp, shape: Size, size: Size
) -> dict[str, Any]:
    """Make one annotation, in pixels of the image as it is written."""
    scale = np.array(size) / shape
    seen = labels["kp_v"][row] > 0
    original = (labels["kp_xy_u16"][row] / WHOLE * shape).round()
    keypoints = np.zeros((len(KEYPOINTS), 3))
    keypoints[:, :2] = np.where(seen[:, None], (original + 0.5) * scale - 0.5, 0)
    keypoints[:, 2] = labels["kp_v"][row]
    x, y, width, height = labels["box_cxcywh_u16"][row] / WHOLE * np.tile(size, 2)
    box = (x - width / 2, y - height / 2, width, height)
    return {
        "image_id": int(labels["image_id"][row]),
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [round(float(value), 2) for value in box],
        "area": round(float(width * height * BOX_FILL), 1),
        "num_keypoints": int(seen.sum()),
        "keypoints": [round(float(value), 2) for value in keypoints.ravel()],
    }


if __name__ == "__main__":
    main()
