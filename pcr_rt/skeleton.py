"""Skeletons: which keypoints a model finds, and how they hang together."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "COCO17",
    "FLIP",
    "KEYPOINTS",
    "LIMBS",
    "NUM_KEYPOINTS",
    "SIGMAS",
    "UPPER_BODY",
    "Skeleton",
    "keypoint_similarity",
    "shipped_skeletons",
    "slots_by_name",
]

Side = Literal["left", "right", "centre"]
Links = tuple[tuple[str, str], ...]

MOST_SIGMA = 1000.0
TABLES = Path(__file__).parent / "skeletons"
DEFAULT_SIGMA = 0.05


@dataclass(frozen=True)
class Skeleton:
    """Which keypoints a model finds, and how they hang together.

    keypoints: K different names, in the order of the model's outputs. limbs: pairs of names that
    are joined by a line. pairs: (left, right) of the keypoints that are each other's mirror image;
    None: those named left_x and right_x, and if there are none, nothing is known of mirror images;
    empty: each keypoint is its own. sigmas: K OKS standard deviations as fractions of the object's
    scale; empty: 0.05 for each, and AP is then not comparable with others'. upper: the upper of
    the two halves of the half-body augmentation; empty: there is none. category: what annotations
    and detections call the object.

    Raises InputError if the parts do not fit together.
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: Links = ()
    pairs: Links | None = None
    sigmas: tuple[float, ...] = ()
    upper: tuple[str, ...] = ()
    category: str = "person"

    def __post_init__(self) -> None:
        if self.pairs is None:
            object.__setattr__(self, "pairs", _pairs_by_name(self.keypoints))
        if not self.keypoints:
            raise InputError(f"The skeleton {self.name!r} has no keypoints.")
        doubled = _doubled(self.keypoints)
        if doubled is not None:
            raise InputError(f"The skeleton {self.name!r} has the keypoint {doubled!r} twice.")
        for part, used in (
            ("A limb", [n for limb in self.limbs for n in limb]),
            ("A pair", [n for pair in self.pairs or () for n in pair]),
            ("The upper half", self.upper),
        ):
            unknown = [name for name in used if name not in self.keypoints]
            if unknown:
                raise InputError(
                    f"{part} of the skeleton {self.name!r} names {unknown[0]!r}, which is none of"
                    f" its keypoints {_few(self.keypoints)}."
                )
        doubled = _doubled([name for pair in self.pairs or () for name in pair])
        if doubled is not None:
            raise InputError(
                f"The skeleton {self.name!r} has {doubled!r} in two pairs: a keypoint has one"
                " mirror image."
            )
        if self.sigmas and len(self.sigmas) != len(self):
            raise InputError(
                f"The skeleton {self.name!r} has {len(self)} keypoints, but {len(self.sigmas)}"
                " sigmas."
            )
        for name, sigma in zip(self.keypoints, self.sigmas, strict=False):
            if not 0 < sigma < MOST_SIGMA:
                raise InputError(
                    f"The skeleton {self.name!r} has the sigma {repr(sigma)[:12]} for {name!r}:"
                    f" give a number above 0 and below {MOST_SIGMA:g}."
                )

    def __len__(self) -> int:
        return len(self.keypoints)

    @classmethod
    def load(cls, source: str | Path) -> Skeleton:
        """Read a shipped skeleton by its name, or a TOML file with the fields by its path.

        Raises InputError if there is neither, or if the file does not fit.
        """
        path = Path(source)
        if path.suffix != ".toml":
            path = TABLES / f"{source}.toml"
            if str(source) not in shipped_skeletons():
                raise InputError(
                    f"There is no skeleton {str(source)[:40]!r}; shipped are"
                    f" {', '.join(shipped_skeletons())}, or give the path of a .toml file."
                )
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"The skeleton {path} cannot be read: {error}.") from None
        return cls.from_table(table, str(path))

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str) -> Skeleton:
        """Make the skeleton of a table of the fields, as TOML and JSON give it.

        where: what error messages call the table. Raises InputError for one that does not fit.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if not isinstance(table, Mapping):
            raise InputError(f"The skeleton of {where} must be a table, not {table!r}.")
        for key in table:
            if key not in fields:
                raise InputError(
                    f"The skeleton of {where} has no key {key!r}; allowed are {', '.join(fields)}."
                )
        for key in ("name", "keypoints"):
            if key not in table:
                raise InputError(f"The skeleton of {where} needs the key {key!r}.")
        values = {key: _read(key, value, where) for key, value in table.items()}
        return cls(**values)

    def to_table(self) -> dict[str, Any]:
        """Give the fields for JSON; `from_table` reads them."""
        return dataclasses.asdict(self)

    @cached_property
    def flip(self) -> NDArray[np.intp]:
        """(K,) index of each keypoint's mirror image: ``keypoints[flip]`` swaps left and right.

        Raises InputError if the skeleton has no ``pairs``.
        """
        if self.pairs is None:
            raise InputError(
                f"The skeleton {self.name!r} does not say which of its keypoints are mirror images:"
                " give it 'pairs' (an empty list if each is its own)."
            )
        flip = np.arange(len(self))
        for a, b in self.pairs:
            i, j = self.keypoints.index(a), self.keypoints.index(b)
            flip[i], flip[j] = j, i
        return _read_only(flip)

    @cached_property
    def sigma_array(self) -> NDArray[np.float64]:
        """(K,) OKS standard deviation of each keypoint, as a fraction of the object's scale."""
        return _read_only(np.array(self.sigmas or [DEFAULT_SIGMA] * len(self), dtype=np.float64))

    @cached_property
    def limb_array(self) -> NDArray[np.intp]:
        """(L, 2) indices of the keypoints that each limb joins."""
        pairs = [[self.keypoints.index(name) for name in limb] for limb in self.limbs]
        return _read_only(np.array(pairs, dtype=np.intp).reshape(-1, 2))

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The side of the body on which each of the K keypoints is, ``centre`` if on neither."""
        sides: dict[str, Side] = {}
        for left, right in self.pairs or ():
            sides[left], sides[right] = "left", "right"
        return tuple(sides.get(name, "centre") for name in self.keypoints)

    def slots(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Give the index of each of ``names`` among the keypoints; -1 for those it lacks."""
        index = {name: i for i, name in enumerate(self.keypoints)}
        return np.array([index.get(name, -1) for name in names], dtype=np.intp)


def _pairs_by_name(keypoints: Sequence[str]) -> Links | None:
    pairs = []
    for name in keypoints:
        if name.startswith("left_") and f"right_{name[5:]}" in keypoints:
            pairs.append((name, f"right_{name[5:]}"))
    return tuple(pairs) or None


def _doubled(names: Sequence[str]) -> str | None:
    """The first name that occurs a second time."""
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _read(key: str, value: Any, where: str) -> Any:
    """Check the type of one value of a table; lists become tuples."""
    if key in ("name", "category"):
        right, wanted = isinstance(value, str) and bool(value), "a name"
    elif key in ("limbs", "pairs"):
        links = isinstance(value, (list, tuple)) and all(_are_names(v, 2) for v in value)
        right, wanted = links or (key == "pairs" and value is None), "pairs of keypoints' names"
    elif key == "sigmas":
        right = isinstance(value, (list, tuple)) and all(type(v) in (int, float) for v in value)
        wanted = "a list of numbers"
    else:
        right, wanted = _are_names(value), "a list of keypoints' names"
    if not right:
        raise InputError(f"The skeleton of {where} must have {wanted} under {key!r}.")
    if isinstance(value, (list, tuple)):
        return tuple(tuple(v) if isinstance(v, (list, tuple)) else v for v in value)
    return value


def _are_names(value: Any, count: int | None = None) -> bool:
    return (
        isinstance(value, (list, tuple))
        and count in (None, len(value))
        and all(isinstance(v, str) for v in value)
    )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def shipped_skeletons() -> list[str]:
    """List the names of the skeletons that are in the package."""
    return sorted(path.stem for path in TABLES.glob("*.toml"))


COCO17 = Skeleton.load("coco17")
"""COCO's 17 keypoints of people, which every shipped model finds."""

# The parts of COCO17 for code that reads COCO's keypoints only.
KEYPOINTS = COCO17.keypoints
NUM_KEYPOINTS = len(COCO17)
FLIP = COCO17.flip
SIGMAS = COCO17.sigma_array
UPPER_BODY: NDArray[np.bool_] = np.isin(KEYPOINTS, COCO17.upper)
LIMBS = tuple((int(a), int(b)) for a, b in COCO17.limb_array)
slots_by_name = COCO17.slots


def keypoint_similarity(
    a: ArrayLike, b: ArrayLike, area: ArrayLike, sigmas: NDArray[np.float64] = SIGMAS
) -> NDArray[np.float64]:
    """Give the term (..., K) of each keypoint in COCO's OKS: exp(-d^2 / (2 area (2 sigma)^2)).

    a, b: (..., K, 2) keypoints in pixels, and area (...) of the objects in square pixels, all
    broadcast against each other; sigmas: (K,) as fractions of the object's scale. The mean over
    the keypoints is the OKS. As COCO's code does, the smallest float is added to the area, so an
    object without area is like nothing but itself.
    """
    squared = np.square(np.subtract(a, b, dtype=np.float64))
    squared = squared[..., 0] + squared[..., 1]  # many times faster than sum(-1)
    size = np.asarray(area, dtype=np.float64)[..., None] + np.spacing(1)
    terms: NDArray[np.float64] = np.exp(-squared / (2 * (2 * sigmas) ** 2) / size)
    return terms
