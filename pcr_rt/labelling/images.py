"""Pseudo-labels of whole folders and videos: find people, keep their sure keypoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import BOX_FILL, is_finite
from pcr_rt.errors import InputError
from pcr_rt.files import check_json_output, make_folder, write_whole
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.labelling.journal import Journal
from pcr_rt.media import VideoReader, is_video, list_images, read_image, write_image
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17, Skeleton

__all__ = [
    "MIN_SCORE",
    "Kept",
    "coco_category",
    "entry_of",
    "label_frame",
    "label_frames",
    "label_images",
]

log = logging.getLogger(__name__)

Frame = NDArray[np.uint8]
Progress = Callable[[int, "int | None"], None]

MIN_SCORE = 0.5
"""Keypoints of a lower raw score are left out unless told otherwise (docs/decisions.md)."""


class Kept(NamedTuple):
    """What a labelling holds: sound images, people, their keypoints; and broken images."""

    images: int
    people: int
    keypoints: int
    broken: int


def label_frames(
    estimator: PoseEstimator,
    source: Path,
    output: Path,
    *,
    min_score: float = MIN_SCORE,
    every: int = 1,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = lambda done, total: None,
) -> Kept:
    """Label a folder of images or a video; return what was kept, and how many images are broken.

    estimator: finds the people too. output: the COCO JSON to write. Beside it lies its journal
    (``.jsonl``), from which a killed run continues: no frame is lost or labelled twice, and the
    result is that of an uninterrupted run. Keypoints with a score below ``min_score`` count as
    unlabelled, people without any keypoint left are left out. every: of a video, label every n-th
    frame; its frames with people are kept as images in the folder ``<output>_frames``.
    provenance: what is said of the teacher in ``info``. Broken images are logged and left out. The
    keypoints are those of the estimator's skeleton, which the file's category names.
    """
    skeleton = estimator.spec.skeleton
    if not is_video(source):
        return label_images(
            lambda files: (entry_of(estimator, file, min_score) for file in files),
            source,
            output,
            skeleton=skeleton,
            min_score=min_score,
            provenance=provenance,
            progress=progress,
        )
    check_json_output(output)
    info = _info(source, skeleton, min_score, {"every": every, **(provenance or {})})
    video, folder = VideoReader(source), _frames_folder(output)
    make_folder(folder)

    def entries(finished: set[str]) -> Iterator[dict[str, Any]]:
        with video:
            for number, (frame, _) in enumerate(video):
                name = f"{number:08d}.jpg"
                if number % every or name in finished:
                    continue
                entry = _entry(estimator, name, frame, min_score)
                if entry["people"]:
                    write_image(folder / name, frame)
                yield entry

    total = None if video.frames is None else -(-video.frames // every)
    return _write_all(source, entries, info, output, skeleton, total, progress)


def label_images(
    label: Callable[[list[Path]], Iterator[dict[str, Any]]],
    source: Path,
    output: Path,
    *,
    skeleton: Skeleton,
    min_score: float,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = lambda done, total: None,
) -> Kept:
    """Label as `label_frames` does, with ``label`` turning files into entries in any order."""
    check_json_output(output)
    files = list_images(source)

    def entries(finished: set[str]) -> Iterator[dict[str, Any]]:
        return label([file for file in files if file.name not in finished])

    info = _info(source, skeleton, min_score, provenance or {})
    return _write_all(source, entries, info, output, skeleton, len(files), progress)


def entry_of(estimator: PoseEstimator, file: Path, min_score: float) -> dict[str, Any]:
    """Make the journal's line of an image: its people, or what is wrong with it."""
    try:
        frame = read_image(file)
    except InputError as error:
        return {"file_name": file.name, "broken": str(error)}
    return _entry(estimator, file.name, frame, min_score)


def label_frame(poses: Poses, min_score: float) -> list[dict[str, Any]]:
    """List the people of a frame who have a keypoint of ``min_score``, ready for JSON.

    Each has ``bbox`` (x, y, w, h), ``keypoints`` (3 K: x, y, v; v is 1 if sure, else all three
    are 0), ``keypoint_scores`` (K) and ``score``.
    """
    people = []
    for keypoints, scores, box, score in zip(
        poses.keypoints, poses.keypoint_scores, poses.boxes, poses.scores, strict=True
    ):
        sure = scores >= min_score
        if not sure.any():
            continue
        label = np.column_stack([keypoints, np.ones(len(scores))]) * sure[:, None]
        x1, y1, x2, y2 = (float(v) for v in box)
        people.append(
            {
                "bbox": [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                "keypoints": [round(float(v), 2) for v in label.ravel()],
                "keypoint_scores": [round(float(v), 4) for v in scores],
                "score": round(float(score), 4),
            }
        )
    return people


def coco_category(skeleton: Skeleton) -> dict[str, Any]:
    """Make the COCO category of a skeleton, with its keypoints and limbs."""
    category = {"id": 1, "name": skeleton.category, "keypoints": list(skeleton.keypoints)}
    # COCO counts keypoints from 1.
    return {**category, "skeleton": (skeleton.limb_array + 1).tolist()}


def write_coco(
    entries: list[dict[str, Any]], info: Mapping[str, Any], output: Path, skeleton: Skeleton
) -> None:
    """Write journal entries as COCO JSON with the skeleton's category.

    Images are marked ``boxes_complete: false``: people whom the teacher was not sure of have no
    box, so nothing in these images is surely background.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for entry in entries:
        if "broken" in entry:
            continue
        image = {key: entry[key] for key in ("file_name", "width", "height")}
        images.append({"id": len(images) + 1, **image, "boxes_complete": False})
        for person in entry["people"]:
            area = round(BOX_FILL * person["bbox"][2] * person["bbox"][3], 2)
            annotation = {
                "id": len(annotations) + 1,
                "image_id": len(images),
                "category_id": 1,
                "iscrowd": 0,
                "area": area,
                "num_keypoints": sum(person["keypoints"][2::3]),
                **person,
            }
            annotations.append(annotation)
    data = {
        "info": dict(info),
        "images": images,
        "annotations": annotations,
        "categories": [coco_category(skeleton)],
    }
    write_whole(output, json.dumps(data).encode())


def _info(
    source: Path, skeleton: Skeleton, min_score: float, more: Mapping[str, Any]
) -> dict[str, Any]:
    about = {"description": "pseudo-labels", "source": source.name, "min_score": min_score}
    if skeleton != COCO17:  # journals of before have no such key
        about["skeleton"] = skeleton.name
    return {**about, **more}


def _write_all(
    source: Path,
    entries: Callable[[set[str]], Iterator[dict[str, Any]]],
    info: Mapping[str, Any],
    output: Path,
    skeleton: Skeleton,
    total: int | None,
    progress: Progress,
) -> Kept:
    """Journal what is not finished yet, then write the whole."""
    header = {**info, "path": str(source.resolve())}
    with Journal(output.with_suffix(".jsonl"), header) as journal:
        sound = (entry for entry in journal.entries if _is_entry(entry, len(skeleton)))
        finished = {entry["file_name"]: entry for entry in sound}
        if len(finished) < len(journal.entries):
            damaged = len(journal.entries) - len(finished)
            log.warning("%s: %d lines are damaged or double, and done anew", journal.path, damaged)
        progress(len(finished), total)
        for entry in entries(set(finished)):
            if "broken" in entry:
                log.warning("%s: left out", entry["broken"])
            journal.append(entry)
            finished[entry["file_name"]] = entry
            progress(len(finished), total)
        done = [finished[name] for name in sorted(finished)]
    write_coco(done, info, output, skeleton)
    images = [entry for entry in done if "broken" not in entry]
    people = [person for entry in images for person in entry["people"]]
    keypoints = sum(v > 0 for person in people for v in person["keypoints"][2::3])
    return Kept(len(images), len(people), keypoints, len(done) - len(images))


def _is_entry(entry: Mapping[str, Any], keypoints: int) -> bool:
    """Tell whether a line of the journal is one that `entry_of` made of so many keypoints."""
    if not isinstance(entry.get("file_name"), str):
        return False
    if "broken" in entry:
        return isinstance(entry["broken"], str)
    people = entry.get("people")
    return (
        all(type(entry.get(side)) is int for side in ("width", "height"))
        and isinstance(people, list)
        and all(isinstance(person, dict) for person in people)
        and all(
            is_finite(person.get(name), size)
            and all(isinstance(value, int | float) for value in person[name])
            for person in people
            for name, size in (
                ("bbox", 4),
                ("keypoints", 3 * keypoints),
                ("keypoint_scores", keypoints),
            )
        )
    )


def _entry(estimator: PoseEstimator, name: str, frame: Frame, min_score: float) -> dict[str, Any]:
    people = label_frame(estimator(frame), min_score)
    height, width = frame.shape[:2]
    return {"file_name": name, "width": width, "height": height, "people": people}


def _frames_folder(output: Path) -> Path:
    return output.with_name(f"{output.stem}_frames")
