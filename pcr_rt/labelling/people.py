"""Pseudo-labels: a teacher's keypoints for people whose boxes are known.

The teacher is any estimator. If people have labels made by hand, these come first, or count
only if the teacher agrees.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcr_rt.coco.annotations import (
    BOX_FILL,
    Annotations,
    is_finite,
    is_person,
    keypoint_names,
    load_annotations,
    people_categories,
    person_category,
)
from pcr_rt.coco.record_images import read_record_image
from pcr_rt.errors import DataError
from pcr_rt.files import check_json_output, refuse_inputs, write_whole
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.labelling.images import coco_category
from pcr_rt.poses import Poses
from pcr_rt.skeleton import COCO17, Skeleton, keypoint_similarity

__all__ = ["Rule", "label_people", "merge"]

log = logging.getLogger(__name__)

Rule = Literal["teacher", "labels-first", "agreement"]

AGREE_OKS = 0.5
TRUSTED_SHARE = 0.7
SURE_SCORE = 0.5
MIN_SURE_SHARE = 0.3
"""Of the keypoints: 5 of COCO's 17."""
HIPS = ("left_hip", "right_hip")


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
    amplitude of each training target. With the rule ``teacher`` the file gets the keypoints of the
    estimator's skeleton, and people of whom fewer than 0.3 have a score of 0.5 are left out; with
    the others it keeps the keypoints that its category names, into which the teacher's are joined
    by name. Images that lost somebody, or a crowd, are marked
    ``boxes_complete: false``. ignore_exif: the boxes were made on images that are not turned as
    their EXIF orientation says. The estimator must keep all people (threshold 0, no NMS).
    Raises DataError for annotations that cannot be used, InputError for an output that cannot be
    written.
    """
    data = load_annotations(annotations, need_keypoints=False)
    check_json_output(output)
    refuse_inputs(output, annotations)
    join = _Join.of(data, estimator.spec.skeleton, rule)
    records = {record["id"]: record for record in data["images"]}
    by_image = _people_by_image(data, rule, len(join.names))
    labelled = []
    for done, (image_id, people) in enumerate(by_image.items()):
        frame = read_record_image(images, records[image_id], ignore_exif=ignore_exif)
        boxes = np.array([a["bbox"] for a in people], dtype=np.float64)
        boxes[:, 2:] += boxes[:, :2]
        poses = estimator(frame, boxes=boxes)
        if len(poses) != len(people):
            raise DataError(
                f"Image {image_id} of {annotations} has a box outside of its image: remove it."
            )
        labelled += _labelled(people, poses, rule, join)
        progress(done + 1, len(by_image))
    # If somebody was left out, a detection of them is no hard negative.
    category = person_category(data)
    before = Counter(a["image_id"] for a in data["annotations"] if is_person(a, category))
    after = Counter(a["image_id"] for a in labelled)
    marked = [
        record if before[i] == after[i] else {**record, "boxes_complete": False}
        for i, record in records.items()
    ]
    content = json.dumps({**data, **join.categories(data, labelled), "images": marked})
    write_whole(output, content.encode())
    log.info("%s: %d people", output, len(labelled))
    return len(labelled)


class _Join(NamedTuple):
    """Whose keypoints are written, and where the teacher's are among them.

    names: those of the K keypoints that are written; written: the skeleton that the file's category
    gets, None if it names its keypoints itself; slots: (K,) index of each among the teacher's, -1
    for those it lacks.
    """

    teacher: Skeleton
    written: Skeleton | None
    names: Sequence[str]
    slots: NDArray[np.intp]

    @classmethod
    def of(cls, data: Annotations, teacher: Skeleton, rule: Rule) -> _Join:
        """Join a file's keypoints with the teacher's. Raises DataError if none are common."""
        written: Skeleton | None = teacher
        names = keypoint_names(data)
        if rule != "teacher" and any(a.get("keypoints") for a in data["annotations"]):
            written = COCO17 if names is None else None  # a file that names none has COCO's
        if written is not None:
            names = list(written.keypoints)
        assert names is not None
        slots = teacher.slots(names)
        if (slots < 0).all():
            raise DataError(
                f"{data.name} names no keypoint of the teacher's skeleton {teacher.name!r}: its"
                f" names are {', '.join(names)}; the teacher's are {', '.join(teacher.keypoints)}."
            )
        return cls(teacher, written, names, slots)

    def categories(
        self, data: Mapping[str, Any], people: list[dict[str, Any]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Give the people and the categories that name the written keypoints."""
        named = keypoint_names(data)
        if self.written is None or named == self.names or (named, self.written) == (None, COCO17):
            return {"annotations": people}
        own = coco_category(self.written)
        if not data.get("categories"):
            people = [{**person, "category_id": own["id"]} for person in people]
            return {"annotations": people, "categories": [own]}
        parts = {key: own[key] for key in ("keypoints", "skeleton")}
        of_people = [c["id"] for c in people_categories(data)]
        categories = [{**c, **parts} if c["id"] in of_people else c for c in data["categories"]]
        return {"annotations": people, "categories": categories}


def _people_by_image(
    data: Mapping[str, Any], rule: Rule, count: int
) -> dict[Any, list[dict[str, Any]]]:
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
        if rule != "teacher" and keypoints and not is_finite(keypoints, 3 * count):
            raise DataError(
                f"Annotation {annotation.get('id')} is malformed: the rule {rule!r} needs"
                f" 'keypoints' of {3 * count} finite numbers."
            )
        if min(box[2:]) > 0:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    return by_image


def _labelled(
    people: list[dict[str, Any]], poses: Poses, rule: Rule, join: _Join
) -> list[dict[str, Any]]:
    result, known = [], join.slots >= 0
    least = max(round(MIN_SURE_SHARE * len(join.names)), 1)
    sigmas = join.teacher.sigma_array[join.slots]
    for annotation, keypoints, scores in zip(
        people, poses.keypoints[:, join.slots], poses.keypoint_scores[:, join.slots], strict=True
    ):
        if rule == "teacher" and (scores > SURE_SCORE).sum() < least:
            continue
        merged, amplitudes = merge(
            annotation, keypoints, scores, rule, names=join.names, known=known, sigmas=sigmas
        )
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
    *,
    names: Sequence[str] = COCO17.keypoints,
    known: NDArray[np.bool_] | None = None,
    sigmas: NDArray[np.float64] = COCO17.sigma_array,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merge labels and teacher into keypoints (K, 3), x, y, v, and target amplitudes (K,).

    keypoints: the teacher's (K, 2), scores: theirs (K,), both of any value if not ``known`` (K,) to
    the teacher; names, sigmas: of the keypoints.

    ``teacher``: the teacher's keypoints with their scores. ``labels-first``: labelled keypoints
    with amplitude 1, the teacher's elsewhere. ``agreement``, for noisy labels: labelled keypoints
    only if the teacher lies close (keypoint similarity above 0.5), hips from the teacher, who
    follows COCO's convention, and unlabelled keypoints from the teacher, as well as labels that the
    teacher does not know, only for people on whom both agree in 70 % of the labels.
    """
    known = np.ones(len(keypoints), dtype=bool) if known is None else known
    merged = np.column_stack([keypoints, np.ones(len(keypoints))]).astype(np.float64)
    merged[~known] = 0
    amplitudes = np.where(known, np.clip(np.asarray(scores, dtype=np.float64), 0, 1), 0)
    if rule == "teacher" or not annotation.get("keypoints"):
        return merged, amplitudes
    label = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
    labelled = label[:, 2] > 0
    use = labelled.copy()
    if rule == "agreement":
        area = annotation.get("area") or BOX_FILL * np.prod(annotation["bbox"][2:])
        alike = keypoint_similarity(label[:, :2], keypoints, area, sigmas) > AGREE_OKS
        agreed = labelled & known & alike
        merged[labelled & ~agreed, 2] = 0
        trusted = agreed.sum() >= TRUSTED_SHARE * (labelled & known).sum()
        if not trusted:
            merged[~labelled, 2] = 0
        use = agreed | (labelled & ~known & trusted)
        use[np.isin(names, HIPS) & known] = False
    merged[use, :2] = label[use, :2]
    merged[use, 2] = 2
    amplitudes[use] = 1
    return merged, amplitudes
