"""A ModelSpec in a file of its own, for model files of others."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import COCO17, Skeleton

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_spec"]


def read_spec(path: Path) -> ModelSpec:
    """Read a ModelSpec from a JSON or TOML file whose keys are its fields.

    ``skeleton`` is a table, a shipped one's name or the path of a .toml file. Raises InputError if
    the file cannot be read, lacks a key, or has an unknown one or a wrong value.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise InputError(f"The spec {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(
            f"The spec {path} is not valid {path.suffix[1:].upper()}: {error}."
        ) from None
    hints = get_type_hints(ModelSpec)
    if not isinstance(table, dict):
        raise InputError(f"The spec {path} must be a table with the keys of a ModelSpec.")
    for key in ("name", "kind", "input_size"):
        if key not in table:
            raise InputError(f"The spec {path} needs the key {key!r}.")
    skeleton = table.pop("skeleton", COCO17.name)
    for key, value in table.items():
        if key not in hints:
            raise InputError(f"The spec {path} has no key {key!r}; allowed are {', '.join(hints)}.")
        if not _fits(value, hints[key]):
            raise InputError(f"The spec {path} has {key} = {value!r}: {_wanted(hints[key])}.")
    try:
        return ModelSpec(
            **{key: _value(value, hints[key]) for key, value in table.items()},
            skeleton=Skeleton.load(skeleton)
            if isinstance(skeleton, str)
            else Skeleton.from_table(skeleton, str(path)),
        )
    except ModelError as error:
        raise InputError(f"{path}: {error}") from None


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        wanted = get_args(kind)
        return (
            isinstance(value, list) and len(value) == len(wanted) and all(map(_fits, value, wanted))
        )
    if kind in (int, float):
        accepted = int if kind is int else (int, float)
        return isinstance(value, accepted) and not isinstance(value, bool)
    return isinstance(
        value, dict if get_origin(kind) is Mapping else str
    )  # a Literal's values are strings


def _value(value: Any, kind: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(v, k) for v, k in zip(value, get_args(kind), strict=True))
    return float(value) if kind is float else value


def _wanted(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"give a list of {len(get_args(kind))} numbers"
    if kind in (int, float):
        return "give a number"
    return "give a table" if get_origin(kind) is Mapping else "give a string"
