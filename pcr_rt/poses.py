"""Poses: the people of one frame."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.skeleton import COCO17, Skeleton

if TYPE_CHECKING:
    import supervision

    from pcr_rt.colours import Colouring

__all__ = ["SURE_KEYPOINT", "Poses", "ScoreKind"]

ScoreKind = Literal["probability", "raw"]
SURE_KEYPOINT: dict[ScoreKind, float] = {"probability": 0.8, "raw": 0.3}
"""Keypoints from this score on are taken for sure; ones outside the image hardly reach it."""

FORMAT = "pcr-rt.poses/1"
STREAM_FIELDS = ("source", "frame_index", "timestamp", "age_ms")
K = -1
ARRAYS: dict[str, tuple[tuple[int, ...], Any]] = {
    "keypoints": ((K, 2), np.float32),
    "keypoint_scores": ((K,), np.float32),
    "boxes": ((4,), np.float32),
    "scores": ((), np.float32),
    "ids": ((), np.int64),
}
"""The shape of each array after its first dimension, the people, and its dtype.

K stands for the number of the skeleton's keypoints.
"""


@dataclass(frozen=True, eq=False, slots=True)
class Poses:
    """What was found in one frame; immutable, its arrays are read-only.

    Attributes
    ----------
    keypoints
        (N, K, 2) float32, frame pixels, x then y, in the skeleton's order; COCO's 17 of a shipped
        model.
    keypoint_scores
        (N, K) float32.
    boxes
        (N, 4) float32 xyxy.
    scores
        (N,) float32.
    ids
        (N,) int64, or None if nobody is tracked.
    image_size
        (width, height) of the frame.
    source, frame_index, timestamp, age_ms
        In a stream: which source, which frame of it, seconds, and milliseconds since the frame was
        read. None on single images.
    score_kind
        ``probability`` if scores are probabilities that the keypoint or person is right, ``raw`` if
        only their order means something.
    skeleton
        What the K keypoints are.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
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
    score_kind: ScoreKind = "raw"
    skeleton: Skeleton = COCO17

    def __post_init__(self) -> None:
        people, keypoints = len(self.scores), len(self.skeleton)
        for name in ARRAYS:
            object.__setattr__(self, name, _frozen(name, getattr(self, name), people, keypoints))

    def replace(self, **changes: Any) -> Poses:
        """Give the same people with some fields changed; the other arrays are shared.

        Only what changes is checked. Raises ValueError if it does not fit the number of people,
        TypeError for a field that Poses do not have.
        """
        unknown = changes.keys() - set(Poses.__slots__)
        if unknown:
            raise TypeError(f"Poses have no {min(unknown)!r}")
        keypoints = len(changes.get("skeleton", self.skeleton))
        if keypoints != len(self.skeleton):
            changes = {name: getattr(self, name) for name in ARRAYS} | changes
        for name in (n for n in ARRAYS if n in changes):
            changes[name] = _frozen(name, changes[name], len(self), keypoints)
        return self._with(changes)

    def _with(self, changes: Mapping[str, Any]) -> Poses:
        """A copy whose changed arrays are known to be right and read-only."""
        copy = object.__new__(Poses)
        for name in Poses.__slots__:
            object.__setattr__(copy, name, changes.get(name, getattr(self, name)))
        return copy

    @classmethod
    def empty(
        cls,
        image_size: tuple[int, int] | None = None,
        score_kind: ScoreKind = "raw",
        skeleton: Skeleton = COCO17,
    ) -> Poses:
        """Make Poses of nobody, with the right shapes."""
        return cls(
            keypoints=np.zeros((0, len(skeleton), 2), np.float32),
            keypoint_scores=np.zeros((0, len(skeleton)), np.float32),
            boxes=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            image_size=image_size,
            score_kind=score_kind,
            skeleton=skeleton,
        )

    @classmethod
    def of_arrays(
        cls,
        keypoints: NDArray[np.float32],
        keypoint_scores: NDArray[np.float32],
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        *,
        image_size: tuple[int, int],
        score_kind: ScoreKind,
        skeleton: Skeleton,
    ) -> Poses:
        """Make Poses out of arrays that are right and nobody else's: no check, no copy."""
        poses = object.__new__(cls)
        put = object.__setattr__
        put(poses, "keypoints", _read_only(keypoints))
        put(poses, "keypoint_scores", _read_only(keypoint_scores))
        put(poses, "boxes", _read_only(boxes))
        put(poses, "scores", _read_only(scores))
        put(poses, "image_size", image_size)
        put(poses, "score_kind", score_kind)
        put(poses, "skeleton", skeleton)
        for name in ("ids", *STREAM_FIELDS):
            put(poses, name, None)
        return poses

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int] | list[bool]) -> Poses:
        """Choose people by number, slice, indexes or mask; the result is always Poses."""
        rows = np.arange(len(self))[index].reshape(-1)
        chosen = {}
        for name in ARRAYS:
            array = getattr(self, name)
            chosen[name] = None if array is None else _read_only(array[rows])
        return self._with(chosen)

    def draw(
        self,
        image: NDArray[Any],
        *,
        colours: Colouring = "people",
        boxes: bool = True,
        ids: bool = True,
        scores: bool = False,
        keypoint_threshold: float | None = None,
        inplace: bool = False,
    ) -> NDArray[np.uint8]:
        """Draw the people on an image, and give it back.

        image: (H, W, 3) uint8 BGR; a copy is drawn on unless ``inplace``. colours: ``"people"``
        gives each id a colour of its own, light on the left side of the body and dark on the right
        one; ``"sides"`` paints left orange, right blue and the middle yellow. ids, scores: what is
        written above each person. Keypoints with a score below ``keypoint_threshold`` and their
        limbs fade with the square of their score; None: 0.8 if scores are probabilities, which
        keypoints outside the image hardly reach, 0.3 if raw. Raises InputError for another kind of
        array.
        """
        from pcr_rt.drawing import draw_people

        if keypoint_threshold is None:
            keypoint_threshold = SURE_KEYPOINT[self.score_kind]
        return draw_people(
            image,
            self.skeleton,
            self.keypoints,
            self.keypoint_scores,
            self.boxes,
            self.scores,
            self.ids,
            sure=keypoint_threshold,
            colours=colours,
            show_boxes=boxes,
            show_ids=ids,
            show_scores=scores,
            inplace=inplace,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give a head, the stream's fields if set, and ``people``, all JSON-safe.

        The head: ``format``; ``scores``, the kind of all scores, ``probability`` or ``raw``;
        ``skeleton``, its name; ``image_size``. Each of ``people`` has ``score``, ``box`` (xyxy),
        ``keypoints`` (K of [x, y, score], in the skeleton's order) and, if tracked, ``id``. Pixels
        and milliseconds are rounded to 0.01, scores and seconds to 0.0001. For example:

            {"format": "pcr-rt.poses/1", "scores": "probability", "skeleton": "coco17",
             "image_size": [1280, 720], "frame_index": 4, "timestamp": 0.1333,
             "people": [{"id": 2, "score": 0.8731, "box": [795.1, 380.0, 934.62, 674.9],
             "keypoints": [[833.4, 402.9, 0.92], ...]}]}
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
        rounded = {
            "source": self.source,
            "frame_index": self.frame_index,
            "timestamp": None if self.timestamp is None else round(self.timestamp, 4),
            "age_ms": None if self.age_ms is None else round(self.age_ms, 2),
        }
        stream = {name: value for name, value in rounded.items() if value is not None}
        size = None if self.image_size is None else list(self.image_size)
        head = {
            "format": FORMAT,
            "scores": self.score_kind,
            "skeleton": self.skeleton.name,
            "image_size": size,
        }
        return {**head, **stream, "people": people}

    def to_json(self) -> str:
        """Give `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], skeleton: Skeleton | None = None) -> Poses:
        """Read the Poses that `to_dict` wrote. Raises InputError for anything else.

        skeleton: theirs, if it is none of the shipped ones, whose names suffice; files without a
        name are of coco17.
        """
        try:
            if table["format"] != FORMAT:
                raise InputError(
                    f"The poses have format {str(table['format'])[:40]!r}, not {FORMAT!r}."
                )
            people, size = table["people"], table["image_size"]
            kind = table.get("scores", "raw")
            if kind not in get_args(ScoreKind):
                raise InputError(
                    f"The poses have scores {str(kind)[:40]!r}, neither 'probability' nor 'raw'."
                )
            named = table.get("skeleton", COCO17.name)
            if skeleton is None:
                skeleton = COCO17 if named == COCO17.name else Skeleton.load(named)
            elif skeleton.name != named:
                raise InputError(f"The poses are of {named!r}, not of {skeleton.name!r}.")
            joints = np.array([p["keypoints"] for p in people], np.float32)
            joints = joints.reshape(len(people), len(skeleton), 3)
            boxes = np.array([p["box"] for p in people], np.float32).reshape(-1, 4)
            scores = np.array([p["score"] for p in people], np.float32)
            stream = [v for v in map(table.get, STREAM_FIELDS[1:]) if v is not None]
            numbers = [*stream, *([] if size is None else size[:2])]
            if not all(np.isfinite(a).all() for a in (joints, boxes, scores, *numbers)):
                raise ValueError("a number is not finite")
            tracked = any("id" in person for person in people)
            return cls(
                keypoints=joints[..., :2],
                keypoint_scores=joints[..., 2],
                boxes=boxes,
                scores=scores,
                ids=np.array([p["id"] for p in people], np.int64) if tracked else None,
                image_size=None if size is None else (size[0], size[1]),
                score_kind=kind,
                skeleton=skeleton,
                **{key: table.get(key) for key in STREAM_FIELDS},
            )
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(repr(error).split())[:200]
            raise InputError(f"This is no PCR-RT poses JSON: {reason}.") from None

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Give COCO keypoint results: one dict a person, nothing rounded.

        The third number of each keypoint, which COCO's evaluation does not read, is its score.
        There is no ``bbox``: with one, COCO's tools would take a result's size from it instead of
        from the keypoints, and other APs for medium and large people would come out.
        """
        return [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": joints.ravel().tolist(),
                "score": float(score),
            }
            for joints, score in zip(self._joints(), self.scores, strict=True)
        ]

    def to_openpose(self) -> dict[str, Any]:
        """Give OpenPose's JSON (version 1.3), with the 17 keypoints in COCO's order.

        They are 17 x (x, y, score), neither OpenPose's BODY_25 nor its 18-point COCO with a neck;
        Pose2Sim and Sports2D read it with their COCO_17 model. Other keypoints that the skeleton
        has are left out. person_id is the id, or -1. Raises InputError if the skeleton lacks one.
        """
        slots = self.skeleton.slots(COCO17.keypoints)
        if (slots < 0).any():
            lacking = COCO17.keypoints[int(np.flatnonzero(slots < 0)[0])]
            raise InputError(
                f"OpenPose's JSON needs COCO's 17 keypoints; the skeleton {self.skeleton.name!r}"
                f" lacks {lacking!r}."
            )
        people = []
        for row, joints in enumerate(self._joints()[:, slots]):
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

    def _joints(self) -> NDArray[np.float32]:
        """(N, K, 3) of x, y, score."""
        return np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=2)

    def to_supervision(self) -> supervision.KeyPoints:
        """Convert to ``supervision.KeyPoints`` with ids under ``data["tracker_id"]``.

        Person scores are carried over if that release has a field for them (0.29 and later).
        Raises MissingDependencyError if supervision cannot be imported.
        """
        try:
            from supervision import KeyPoints
        except ImportError as error:
            raise MissingDependencyError(
                f"to_supervision needs the package supervision ({error}):"
                " run pip install supervision."
            ) from None
        if len(self) == 0:
            return KeyPoints.empty()
        known = {field.name for field in dataclasses.fields(KeyPoints)}
        confidence = "keypoint_confidence" if "keypoint_confidence" in known else "confidence"
        columns: dict[str, Any] = {confidence: self.keypoint_scores.copy()}
        if "detection_confidence" in known:
            columns["detection_confidence"] = self.scores.copy()
        return KeyPoints(
            xy=self.keypoints.copy(),
            class_id=np.zeros(len(self), dtype=int),
            data={} if self.ids is None else {"tracker_id": self.ids.copy()},
            **columns,
        )


def _frozen(name: str, value: Any, people: int, keypoints: int) -> NDArray[Any] | None:
    """A read-only copy of an array field's value. Raises ValueError for a wrong shape."""
    if name == "ids" and value is None:
        return None
    shape, dtype = ARRAYS[name]
    wanted = (people, *(keypoints if size == K else size for size in shape))
    array = np.array(value, dtype=dtype)
    if array.shape != wanted:
        raise ValueError(f"{name} has shape {array.shape}, not {wanted}")
    return _read_only(array)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
