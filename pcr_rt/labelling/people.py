"""Pseudo-labels: a teacher's keypoints for people whose boxes are known.

The teacher is any estimator. If people have labels made by hand, these come first, or count
only if the teacher agrees.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import (
    BOX_FILL,
    is_finite,
    is_person,
    load_annotations,
    person_category,
    read_picture,
    require_keypoints,
)
from pcr_rt.errors import DataError
from pcr_rt.files import check_json_output, refuse_inputs, write_whole
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17, KEYPOINTS, NUM_KEYPOINTS, keypoint_similarity

__all__ = ["Rule", "label_people", "merge"]

log = logging.getLogger(__name__)

Rule = Literal["teacher", "labels-first", "agreement"]

AGREE_OKS = 0.5
TRUSTED_SHARE = 0.7
SURE_SCORE = 0.5
MIN_SURE_KEYPOINTS = 5
HIPS = [KEYPOINTS.index("left_hip"), KEYPOINTS.index("right_hip")]


def label_people(
    estimator: PoseEstimator,
    annotations: Path,
    images: Path,
    output: Path,
    *,
    rule: Rule = "teacher",
    ignore_exif: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write ``annotations`` with the teacher's keypoints to ``output``; count the people.

    annotations: COCO JSON whose annotations have boxes; ``keypoints`` are used by the rules
    ``labels-first`` and ``agreement``. The written annotations carry ``keypoint_scores``, the
    amplitude of each training target. With the rule ``teacher`` people with fewer than five
    keypoints of score 0.5 are left out; images that lost somebody, or a crowd, are marked
    ``boxes_complete: false``. ignore_exif: the boxes were made on images that are not turned as
    their EXIF orientation says. The estimator must keep all people (threshold 0, no NMS).
    Raises DataError for annotations that cannot be used, InputError for an output that cannot be
    written.
    """
    data = load_annotations(annotations, need_keypoints=False)
    check_json_output(output)
    refuse_inputs(output, annotations)
    require_keypoints(data, COCO17)
    records = {record["id"]: record for record in data["images"]}
    by_image = _people_by_image(data, rule)
    labelled = []
    for done, (image_id, people) in enumerate(by_image.items()):
        frame = read_picture(images, records[image_id], ignore_exif=ignore_exif)
        boxes = np.array([a["bbox"] for a in people], dtype=np.float64)
        boxes[:, 2:] += boxes[:, :2]
        poses = estimator(frame, boxes=boxes)
        if len(poses) != len(people):
            raise DataError(
                f"Image {image_id} of {annotations} has a box outside of its image: remove it."
            )
        labelled += _labelled(people, poses, rule)
        progress(done + 1, len(by_image))
    # If somebody was left out, a detection of them is no hard negative.
    category = person_category(data)
    before = Counter(a["image_id"] for a in data["annotations"] if is_person(a, category))
    after = Counter(a["image_id"] for a in labelled)
    marked = [
        record if before[i] == after[i] else {**record, "boxes_complete": False}
        for i, record in records.items()
    ]
    content = json.dumps({**data, "images": marked, "annotations": labelled})
    write_whole(output, content.encode())
    log.info("%s: %d people", output, len(labelled))
    return len(labelled)


def _people_by_image(data: Mapping[str, Any], rule: Rule) -> dict[Any, list[dict[str, Any]]]:
    """The annotations of people with a box, by image. DataError for a malformed one."""
    category = person_category(data)
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for annotation in data["annotations"]:
        if not is_person(annotation, category) or annotation.get("iscrowd"):
            continue
        box, keypoints = annotation.get("bbox"), annotation.get("keypoints")
        if not is_finite(box, 4):
            raise DataError(
                f"Annotation {annotation.get('id')} is malformed: it needs a 'bbox' of 4 finite"
                " numbers."
            )
        if rule != "teacher" and keypoints and not is_finite(keypoints, 3 * NUM_KEYPOINTS):
            raise DataError(
                f"Annotation {annotation.get('id')} is malformed: the rule {rule!r} needs"
                f" 'keypoints' of {3 * NUM_KEYPOINTS} finite numbers."
            )
        if min(box[2:]) > 0:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    return by_image


def _labelled(people: list[dict[str, Any]], poses: Poses, rule: Rule) -> list[dict[str, Any]]:
    result = []
    for annotation, keypoints, scores in zip(
        people, poses.keypoints, poses.keypoint_scores, strict=True
    ):
        if rule == "teacher" and (scores > SURE_SCORE).sum() < MIN_SURE_KEYPOINTS:
            continue
        merged, amplitudes = merge(annotation, keypoints, scores, rule)
        result.append(
            {
                **annotation,
                "keypoints": [round(float(v), 2) for v in merged.ravel()],
                "keypoint_scores": [round(float(v), 3) for v in amplitudes],
                "num_keypoints": int((merged[:, 2] > 0).sum()),
            }
        )
    return result


def merge(
    annotation: Mapping[str, Any],
    keypoints: NDArray[Any],
    scores: NDArray[Any],
    rule: Rule,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merge labels and teacher into keypoints (17, 3), x, y, v, and target amplitudes (17,).

    ``teacher``: the teacher's keypoints with their scores. ``labels-first``: labelled keypoints
    with amplitude 1, the teacher's elsewhere. ``agreement``, for noisy labels: labelled keypoints
    only if the teacher lies close (keypoint similarity above 0.5), hips from the teacher, who
    follows COCO's convention, and unlabelled keypoints from the teacher only for people on whom
    both agree in 70 % of the labels.
    """
    merged = np.column_stack([keypoints, np.ones(len(keypoints))]).astype(np.float64)
    amplitudes = np.clip(np.asarray(scores, dtype=np.float64), 0, 1)
    if rule == "teacher" or not annotation.get("keypoints"):
        return merged, amplitudes
    label = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
    labelled = label[:, 2] > 0
    use = labelled.copy()
    if rule == "agreement":
        area = annotation.get("area") or BOX_FILL * np.prod(annotation["bbox"][2:])
        agreed = labelled & (keypoint_similarity(label[:, :2], keypoints, area) > AGREE_OKS)
        merged[labelled & ~agreed, 2] = 0
        if agreed.sum() < TRUSTED_SHARE * labelled.sum():
            merged[~labelled, 2] = 0
        use = agreed
        use[HIPS] = False
    merged[use, :2] = label[use, :2]
    merged[use, 2] = 2
    amplitudes[use] = 1
    return merged, amplitudes
