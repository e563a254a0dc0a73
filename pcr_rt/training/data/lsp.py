"""People from Leeds Sports Pose Extended: its joints.mat, or JSON with the 14 original joints.

Johnson and Everingham, "Learning Effective Human Pose Estimation from Inaccurate Annotation"
(2011). Of the 14 joints 12 are COCO's; neck and head top are not.
"""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pcr_rt.coco.annotations import load_annotations
from pcr_rt.errors import DataError, MissingDependencyError
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.coco import people_of
from pcr_rt.training.data.person import Broken, Person

__all__ = ["LSP_KEYPOINTS", "read_lsp"]

LOAD = """
import sys
import numpy
from scipy.io import loadmat
joints = numpy.asarray(loadmat(sys.argv[1])["joints"], dtype=numpy.float64)
numpy.save(sys.stdout.buffer, joints)
"""

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
    skeleton: Skeleton = COCO17,
) -> list[Person]:
    """Read the people who have at least ``min_keypoints`` keypoints that ``skeleton`` has too.

    annotations: ``joints.mat`` of the data set, whose images are im00001.jpg and so on, or JSON
    with COCO's ``images`` and ``annotations``, each with ``bbox`` (x, y, w, h) and ``lsp14``
    (14 x (x, y, v)). Errors are those of ``people_of``.
    """
    if annotations.suffix == ".mat":
        data = _from_matlab(annotations)
    else:
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
        skeleton=skeleton,
    )


def _from_matlab(path: Path) -> dict[str, Any]:
    """Read ``joints`` (14, 3, N) of LSP-Extended: x, y from 1, and 1 if the joint is visible.

    Its boxes are those of the visible joints, 8 % larger.
    """
    if importlib.util.find_spec("scipy") is None:
        raise MissingDependencyError(f"Reading {path} needs SciPy: pip install '.[train]'.")
    # In a process of its own, since damaged bytes may end it inside SciPy.
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1][:200] if said else "SciPy crashed"
        raise DataError(f"{path} cannot be read as LSP-Extended's joints.mat: {reason}.")
    joints = np.load(io.BytesIO(done.stdout))
    if joints.ndim != 3 or joints.shape[:2] != (14, 3):
        raise DataError(
            f"{path} has joints {joints.shape}, LSP-Extended has (14, 3, N): (3, 14, N) is the"
            " first Leeds Sports Pose, whose third row means the opposite."
        )
    images, annotations = [], []
    for number, person in enumerate(joints.transpose(2, 0, 1), 1):
        seen = person[:, 2] > 0
        if not seen.any():
            continue
        points = person[:, :2] - 1
        low, high = points[seen].min(0), points[seen].max(0)
        size, middle = 1.08 * (high - low), (low + high) / 2
        keypoints = np.column_stack([points, 2 * seen]) * seen[:, None]
        images.append({"id": number, "file_name": f"im{number:05d}.jpg"})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "bbox": [*(middle - size / 2), *size],
                "lsp14": keypoints.ravel().tolist(),
            }
        )
    return {"images": images, "annotations": annotations}
