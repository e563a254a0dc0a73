"""People from Leeds Sports Pose Extended, stored as JSON with the 14 original joints.

Johnson and Everingham, "Learning Effective Human Pose Estimation from Inaccurate Annotation"
(2011). Of the 14 joints 12 are COCO's; neck and head top are not.
"""

from __future__ import annotations

from pathlib import Path

from pcr_rt.annotations import load_annotations
from pcr_rt.errors import DataError
from pcr_rt.training.data.coco import people_of
from pcr_rt.training.data.person import Broken, Person

__all__ = ["LSP_KEYPOINTS", "read_lsp"]

LSP_KEYPOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck", "head_top"),
)


def read_lsp(
    annotations: Path,
    images: Path,
    *,
    weight: float = 1.0,
    min_keypoints: int = 1,
    broken: Broken = "refuse",
) -> list[Person]:
    """All people who have at least ``min_keypoints`` keypoints that COCO knows too.

    annotations: JSON with COCO's ``images`` and ``annotations``, each with ``bbox`` (x, y, w, h)
    and ``lsp14`` (14 x (x, y, v)). Errors are those of ``people_of``.
    """
    data = load_annotations(annotations, need_keypoints=False)
    people = [{**a, "keypoints": a["lsp14"]} for a in data["annotations"] if "lsp14" in a]
    if not people:
        raise DataError(f"{annotations} has no annotation with 'lsp14': read it with format coco.")
    return people_of(
        {"images": data["images"], "annotations": people},
        annotations,
        images,
        weight=weight,
        min_keypoints=min_keypoints,
        names=LSP_KEYPOINTS,
        broken=broken,
    )
