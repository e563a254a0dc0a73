"""What a field of COCO's records may hold: one table a kind of record, checked where it is read.

People's files write numbers as strings, null for what they do not know and NaN for keypoints that
nobody labelled. Values come out of here as what they mean, or as one DataError that names the file,
the record and the field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import DataError

__all__ = [
    "ANNOTATION",
    "CATEGORY",
    "DETECTION",
    "IDENTITIES",
    "IMAGE",
    "MAX_COORDINATE",
    "RESULT",
    "check_record",
    "identity",
    "load_json",
    "shown",
]

MAX_COORDINATE = 1e7
"""Pixels; what is beyond comes from a damaged file and would overflow float32 later."""
SCORE_SLACK = 1e-4
"""By which rounding may carry a score over 1."""

Convert = Callable[[Any], Any]
Fields = Mapping[str, Convert]


def load_json(path: str | Path, what: str) -> Any:
    """Parse a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    what: how messages call it. Raises DataError if it is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise DataError(f"The {what} {path} does not exist.") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"The {what} {path} cannot be read as JSON: {shown(reason)}.") from None


def shown(value: Any) -> str:
    """A value for a message: on one line, and not the whole of a long one."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_record(
    record: Mapping[str, Any], fields: Fields, where: str, *needed: str
) -> dict[str, Any]:
    """The record with its fields as they are meant; null is as good as not there.

    where: file and record, for messages. Raises DataError for a field that cannot be what it
    should be, and for one of ``needed`` that is not there.
    """
    result = dict(record)
    for name, convert in fields.items():
        value = record.get(name)
        if value is None:
            if name in needed:
                raise DataError(f"{where}: {name!r} is missing.")
            result.pop(name, None)
            continue
        try:
            meant = convert(value)
        except (TypeError, ValueError, OverflowError) as error:
            reason = str(error) if isinstance(error, _Wrong) else "must hold numbers"
            raise DataError(
                f"{where} is malformed: {name!r} {reason}, it is {shown(repr(value))}."
            ) from None
        if meant is None:  # it says nothing
            del result[name]
        else:
            result[name] = meant
    return result


class _Wrong(ValueError):
    """What a field should be."""


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Wrong("must be a number")
    number = float(value)
    if math.isinf(number):
        raise _Wrong("must be finite")
    return number


def identity(value: Any) -> int | str:
    """An id; strings of digits are numbers, since half of the tools write them so."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?[0-9]{1,18}", value.strip()) else value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise _Wrong("must be a whole number or a string")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be a string")
    return value


def _names(value: Any) -> list[str] | None:
    """Names of keypoints; an empty list says nothing."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _Wrong("must be a list of names")
    return value or None


def _side(value: Any) -> int | None:
    """Width or height in pixels; 0 says nothing."""
    number = _number(value)
    if not number.is_integer() or not 0 <= number <= MAX_COORDINATE:
        raise _Wrong("must be a number of pixels")
    return int(number) or None


def _array(value: Any) -> NDArray[np.float64]:
    if not isinstance(value, list | tuple | np.ndarray):
        raise _Wrong("must be a list of numbers")
    return np.asarray(value, dtype=np.float64)  # null becomes NaN


def _box(value: Any) -> list[float]:
    box = _array(value)
    if box.shape != (4,) or not (np.abs(box) <= MAX_COORDINATE).all():
        raise _Wrong("must be 4 finite numbers: x, y, width, height")
    numbers: list[float] = box.tolist()
    return numbers


def _keypoints(value: Any) -> list[float] | None:
    """Numbers x, y, v; where v is 0 nobody looks at x and y, which become 0."""
    points = _array(value)
    if points.ndim != 1 or len(points) % 3:
        raise _Wrong("must be numbers x, y, v for each keypoint")
    points = points.reshape(-1, 3).copy()
    points[points[:, 2] == 0] = 0
    if not (np.abs(points) <= MAX_COORDINATE).all():
        raise _Wrong("must be finite numbers x, y, v for each keypoint")
    numbers: list[float] = points.ravel().tolist()
    return numbers or None


def _found(value: Any) -> list[float]:
    """Keypoints of a result: x, y, score."""
    points = _array(value)
    if points.ndim != 1 or not (np.abs(points) <= MAX_COORDINATE).all():
        raise _Wrong("must be finite numbers x, y, score for each keypoint")
    numbers: list[float] = points.tolist()
    return numbers


def _scores(value: Any) -> list[float]:
    """Scores of keypoints; what is no number is NaN."""
    scores = _array(value)
    if scores.ndim != 1:
        raise _Wrong("must be a list of numbers")
    numbers: list[float] = scores.tolist()
    return numbers


def _area(value: Any) -> float | None:
    """Square pixels; exporters that do not know it write 0."""
    area = _number(value)
    return area if 0 < area <= MAX_COORDINATE**2 else None


def _flag(value: Any) -> int:
    flag = int(value) if isinstance(value, bool) else _number(value)
    if flag not in (0, 1):
        raise _Wrong("must be 0 or 1")
    return int(flag)


def _count(value: Any) -> int:
    number = _number(value)
    if not number.is_integer() or number < 0:
        raise _Wrong("must be a count")
    return int(number)


def _probability(value: Any) -> float:
    score = _number(value)
    if not 0 <= score <= 1 + SCORE_SLACK:
        raise _Wrong("must be a score of 0 to 1")
    return min(score, 1.0)


def _finite(value: Any) -> float:
    number = _number(value)
    if math.isnan(number):
        raise _Wrong("must be finite")
    return number


IMAGE: Fields = {"id": identity, "file_name": _text, "width": _side, "height": _side}
CATEGORY: Fields = {"id": identity, "name": str, "keypoints": _names}
IDENTITIES: Fields = {"image_id": identity, "category_id": identity}
ANNOTATION: Fields = {
    "bbox": _box,
    "keypoints": _keypoints,
    "keypoint_scores": _scores,
    "area": _area,
    "iscrowd": _flag,
    "num_keypoints": _count,
}
DETECTION: Fields = {**IDENTITIES, "bbox": _box, "score": _probability}
RESULT: Fields = {**IDENTITIES, "bbox": _box, "keypoints": _found, "score": _finite}
