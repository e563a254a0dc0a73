"""Poses: the people of one frame."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.skeleton import NUM_KEYPOINTS

if TYPE_CHECKING:
    import supervision

__all__ = ["Poses"]

FORMAT = "pcr-rt.poses/1"
STREAM_FIELDS = ("source", "frame_index", "timestamp", "age_ms")


@dataclass(frozen=True, eq=False)
class Poses:
    """What was found in one frame; immutable, its arrays are read-only.

    keypoints: (N, 17, 2) float32, frame pixels, x then y, in COCO's order. keypoint_scores:
    (N, 17) float32. boxes: (N, 4) float32 xyxy. scores: (N,) float32. ids: (N,) int64, or None
    where nobody is tracked. image_size: (width, height) of the frame. In a stream also source
    (index), frame_index, timestamp (seconds) and age_ms; None on single images.
    """

    keypoints: NDArray[np.float32]
    keypoint_scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    ids: NDArray[np.int64] | None = None
    image_size: tuple[int, int] | None = None
    source: int | None = None
    frame_index: int | None = None
    timestamp: float | None = None
    age_ms: float | None = None

    def __post_init__(self) -> None:
        people = len(self.scores)
        shapes = {
            "keypoints": (people, NUM_KEYPOINTS, 2),
            "keypoint_scores": (people, NUM_KEYPOINTS),
            "boxes": (people, 4),
            "scores": (people,),
        }
        for name, shape in shapes.items():
            self._freeze(name, shape, np.float32)
        if self.ids is not None:
            self._freeze("ids", (people,), np.int64)

    def _freeze(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        array = np.array(getattr(self, name), dtype=dtype)
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, not {shape}")
        array.flags.writeable = False
        object.__setattr__(self, name, array)

    @classmethod
    def empty(cls, image_size: tuple[int, int] | None = None) -> Poses:
        """Nobody, with the right shapes."""
        return cls(
            keypoints=np.zeros((0, NUM_KEYPOINTS, 2), np.float32),
            keypoint_scores=np.zeros((0, NUM_KEYPOINTS), np.float32),
            boxes=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            image_size=image_size,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int] | list[bool]) -> Poses:
        """The chosen people, by number, slice, indexes or mask; always Poses."""
        rows = np.arange(len(self))[index].reshape(-1)
        return dataclasses.replace(
            self,
            keypoints=self.keypoints[rows],
            keypoint_scores=self.keypoint_scores[rows],
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            ids=None if self.ids is None else self.ids[rows],
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: ``format``, ``image_size``, the stream's fields where set, and ``people``.

        Each of ``people`` has ``score``, ``box`` (xyxy), ``keypoints`` (17 of [x, y, score]) and,
        where tracked, ``id``. Pixels are rounded to 0.01, scores to 0.0001.
        """
        people = []
        for row in range(len(self)):
            person: dict[str, Any] = {} if self.ids is None else {"id": int(self.ids[row])}
            person["score"] = round(float(self.scores[row]), 4)
            person["box"] = [round(v, 2) for v in self.boxes[row].tolist()]
            person["keypoints"] = [
                [round(x, 2), round(y, 2), round(score, 4)]
                for (x, y), score in zip(
                    self.keypoints[row].tolist(), self.keypoint_scores[row].tolist(), strict=True
                )
            ]
            people.append(person)
        stream = {k: getattr(self, k) for k in STREAM_FIELDS if getattr(self, k) is not None}
        size = None if self.image_size is None else list(self.image_size)
        return {"format": FORMAT, "image_size": size, **stream, "people": people}

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Poses:
        """The Poses that `to_dict` wrote. Raises InputError for anything else."""
        try:
            if table["format"] != FORMAT:
                raise InputError(f"The poses have format {table['format']!r}, not {FORMAT!r}.")
            people, size = table["people"], table["image_size"]
            joints = np.array([p["keypoints"] for p in people], np.float32)
            joints = joints.reshape(len(people), NUM_KEYPOINTS, 3)
            tracked = bool(people) and "id" in people[0]
            return cls(
                keypoints=joints[..., :2],
                keypoint_scores=joints[..., 2],
                boxes=np.array([p["box"] for p in people], np.float32).reshape(-1, 4),
                scores=np.array([p["score"] for p in people], np.float32),
                ids=np.array([p["id"] for p in people], np.int64) if tracked else None,
                image_size=None if size is None else (size[0], size[1]),
                **{key: table.get(key) for key in STREAM_FIELDS},
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"This is no PCR-RT poses JSON: {error!r}.") from None

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO keypoint results; the third number of each keypoint is its score."""
        return [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": np.column_stack(
                    [self.keypoints[row], self.keypoint_scores[row]]
                ).ravel().tolist(),
                "score": float(self.scores[row]),
            }
            for row in range(len(self))
        ]

    def to_openpose(self) -> dict[str, Any]:
        """OpenPose's JSON (version 1.3), with the 17 keypoints in COCO's order.

        Readers of OpenPose files (Pose2Sim, Sports2D) take it with their COCO_17 model.
        """
        people = []
        for row in range(len(self)):
            joints = np.column_stack([self.keypoints[row], self.keypoint_scores[row]])
            people.append(
                {
                    "person_id": [-1 if self.ids is None else int(self.ids[row])],
                    "pose_keypoints_2d": joints.ravel().tolist(),
                    "face_keypoints_2d": [],
                    "hand_left_keypoints_2d": [],
                    "hand_right_keypoints_2d": [],
                }
            )
        return {"version": 1.3, "people": people}

    def to_supervision(self) -> supervision.KeyPoints:
        """``supervision.KeyPoints`` with ids under ``data["tracker_id"]``.

        Raises MissingDependencyError where supervision is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError:
            raise MissingDependencyError(
                "to_supervision needs the package supervision: pip install supervision."
            ) from None
        return supervision.KeyPoints(
            xy=self.keypoints.copy(),
            keypoint_confidence=self.keypoint_scores.copy(),
            detection_confidence=self.scores.copy(),
            class_id=np.zeros(len(self), dtype=int),
            data={} if self.ids is None else {"tracker_id": self.ids.copy()},
        )
