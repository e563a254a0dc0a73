"""YOLO-pose data sets: data.yaml, a text file of labels for each image, read as COCO records.

Ultralytics' format, as CVAT, Roboflow and Label Studio export it: of each object the class, the box
(centre and size) and the keypoints, all as fractions of the image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pcr_rt.errors import DataError, InputError
from pcr_rt.media import list_images, read_image
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.coco import people_of
from pcr_rt.training.data.person import Broken, Person, report_broken

__all__ = ["YoloSet", "read_yolo"]


class YoloSet:
    """A ``data.yaml``: its skeleton, and the images of its parts.

    Raises DataError if it cannot be read or describes no keypoints.
    """

    def __init__(self, path: Path) -> None:
        try:
            table = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DataError(f"{path} cannot be read as YAML: {error}.") from None
        if not isinstance(table, dict):
            raise DataError(f"{path} is no YOLO data set: it must be a table with 'kpt_shape'.")
        self.path, self._table = path, table
        shape = table.get("kpt_shape")
        if not (
            isinstance(shape, list)
            and len(shape) == 2
            and all(isinstance(n, int) for n in shape)
            and shape[0] > 0
            and shape[1] in (2, 3)
        ):
            raise DataError(
                f"{path}: 'kpt_shape' is {shape!r}; a pose data set has [keypoints, 2 or 3] there."
            )
        self._count, self._values = shape
        self.skeleton = self._skeleton()

    def _skeleton(self) -> Skeleton:
        classes = self._table.get("names")
        names = list(classes.values()) if isinstance(classes, dict) else classes or []
        category = str(names[0]) if len(names) == 1 else "object"
        flip = self._table.get("flip_idx")
        if flip is not None and sorted(flip) != list(range(self._count)):
            raise DataError(
                f"{self.path}: 'flip_idx' is {flip!r}; it must hold the numbers from 0 to"
                f" {self._count - 1}."
            )
        given = self._table.get("kpt_names")
        if isinstance(given, dict):
            given = next(iter(given.values()), None)
        if given is None and flip == COCO17.flip.tolist():
            return COCO17
        keypoints = given or [f"keypoint_{i + 1}" for i in range(self._count)]
        if len(keypoints) != self._count:
            raise DataError(
                f"{self.path}: 'kpt_names' has {len(keypoints)} names, 'kpt_shape' says"
                f" {self._count}."
            )
        keypoints = [str(name) for name in keypoints]
        table: dict[str, Any] = {"name": category, "category": category, "keypoints": keypoints}
        if flip is not None:
            table["pairs"] = [[keypoints[a], keypoints[b]] for a, b in enumerate(flip) if a < b]
        return Skeleton.from_table(table, str(self.path))

    def part(self, *names: str) -> list[Path]:
        """List the images of the first of these parts that is there; [] if none is.

        A part is a folder, a text file of images, or a list of these.
        """
        value: Any = next((self._table[name] for name in names if self._table.get(name)), [])
        sources = value if isinstance(value, list) else [value]
        return [image for source in sources for image in self.images(str(source))]

    def images(self, source: str) -> list[Path]:
        """List the images of a folder or of a text file that names them."""
        place = self._find(source)
        if place.suffix != ".txt":
            return list_images(place)
        try:
            lines = place.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{place} of {self.path} cannot be read: {error}.") from None
        return [self._find(line.strip()) for line in lines if line.strip()]

    def _find(self, name: str) -> Path:
        """Find a path of the file: exports name folders of the machine that made them.

        As in Ultralytics, ``../`` at the beginning of Roboflow's paths does not count if nothing
        is there.
        """
        home = self.path.parent
        root = home / str(self._table.get("path") or ".")
        for folder in (root, home):
            for tail in (name, name.removeprefix("../"), name.removeprefix("data/")):
                if (folder / tail).exists():
                    return folder / tail
        raise DataError(f"{self.path} names {name!r}, which is not in {home}.")

    def as_coco(
        self, images: list[Path], broken: Broken = "refuse", *, ignore_exif: bool = False
    ) -> dict[str, Any]:
        """Read the labels of these images as the records of a COCO file.

        ``file_name`` is the image's full path. An image without a text file shows no object. A
        broken image or line is reported with its name and refused (DataError) or left out.
        ignore_exif: the labels were made on the images as they are stored.
        """
        records: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        for number, image in enumerate(images, 1):
            labels = _labels_of(image)
            try:
                height, width = read_image(image, ignore_exif=ignore_exif).shape[:2]
                lines = labels.read_text(encoding="utf-8").splitlines() if labels.exists() else []
            except (InputError, OSError, UnicodeDecodeError) as error:
                report_broken(str(error).rstrip("."), broken)
                continue
            record = {"id": number, "file_name": str(image.absolute())}
            records.append({**record, "width": width, "height": height})
            for row, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    found = self._object(line, width, height)
                except ValueError:
                    count = 5 + self._count * self._values
                    report_broken(f"Line {row} of {labels} is not {count} numbers", broken)
                    continue
                objects.append({"id": len(objects) + 1, "image_id": number, **found})
        skeleton = self.skeleton
        category = {"id": 1, "name": skeleton.category, "keypoints": list(skeleton.keypoints)}
        return {"images": records, "annotations": objects, "categories": [category]}

    def _object(self, line: str, width: int, height: int) -> dict[str, Any]:
        numbers = [float(word) for word in line.split()]
        if len(numbers) != 5 + self._count * self._values:
            raise ValueError(line)
        x, y, w, h = numbers[1:5]
        keypoints: list[float] = []
        for at in range(5, len(numbers), self._values):
            px, py = numbers[at : at + 2]
            # Without a third number, an unlabelled keypoint lies in the corner or outside.
            seen = numbers[at + 2] if self._values == 3 else 2 * (px > 0 or py > 0)
            keypoints += [px * width, py * height, seen] if seen > 0 else [0, 0, 0]
        box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        return {
            "category_id": 1,
            "bbox": box,
            "keypoints": keypoints,
            "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        }


def read_yolo(
    annotations: Path,
    images: Path,
    *,
    weight: float = 1.0,
    min_keypoints: int = 1,
    ignore_exif: bool = False,
    broken: Broken = "refuse",
    skeleton: Skeleton = COCO17,
) -> list[Person]:
    """Read the people of a ``data.yaml`` who have ``min_keypoints`` keypoints of ``skeleton``.

    images: a folder of them, or a text file that names them; the labels lie in the folder
    ``labels`` beside ``images``. ignore_exif: they are for the images as stored. Errors are those
    of ``people_of``.
    """
    source = YoloSet(annotations)
    listed = source.images(str(images.absolute()))
    return people_of(
        source.as_coco(listed, broken, ignore_exif=ignore_exif),
        annotations,
        images,
        weight=weight,
        min_keypoints=min_keypoints,
        broken=broken,
        skeleton=skeleton,
    )


def _labels_of(image: Path) -> Path:
    """The text file of an image: in ``labels`` where the image is in ``images``, else beside it."""
    parts = list(image.absolute().parts)
    at = len(parts) - 1 - parts[::-1].index("images") if "images" in parts[:-1] else None
    if at is not None:
        parts[at] = "labels"
    return Path(*parts).with_suffix(".txt")
