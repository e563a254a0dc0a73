"""Tables of TOML as dataclasses, with every key and value checked."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pcr_rt.errors import DataError

__all__ = ["read_typed"]


def read_typed(kind: Any, value: Any, where: str) -> Any:
    """Read ``value`` as an instance of the type ``kind``, or raise a DataError naming ``where``."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise DataError(f"{where} must be a table, not {value!r}.")
        hints = get_type_hints(typing.cast(type, kind))
        unknown = value.keys() - hints.keys()
        if unknown:
            raise DataError(
                f"{where} has no key {sorted(unknown)[0]!r}; allowed are {', '.join(hints)}."
            )
        needed = {
            f.name
            for f in dataclasses.fields(kind)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        if needed - value.keys():
            raise DataError(f"{where} needs the key {sorted(needed - value.keys())[0]!r}.")
        read = {key: read_typed(hints[key], v, f"{where}: {key}") for key, v in value.items()}
        return typing.cast(type, kind)(**read)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in args:
            raise DataError(f"{where} is {value!r}; allowed are {', '.join(map(repr, args))}.")
        return value
    if origin is types.UnionType:
        for one in args:
            if isinstance(value, get_origin(one) or one):
                return read_typed(one, value, where)
        raise DataError(f"{where} must be a name or a table, not {value!r}.")
    if origin is tuple:
        return _read_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise DataError(f"{where} must be a table, not {value!r}.")
        return value
    return _read_scalar(kind, value, where)


def _read_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or (not value and args[-1] is not Ellipsis):
        raise DataError(f"{where} must be a list, not {value!r}.")
    if args[-1] is not Ellipsis and len(args) != len(value):
        raise DataError(f"{where} must have {len(args)} values, not {len(value)}.")
    return tuple(read_typed(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))


def _read_scalar(kind: Any, value: Any, where: str) -> Any:
    accepted: Any = (int, float) if kind is float else kind
    if isinstance(accepted, types.GenericAlias) or not isinstance(value, accepted):
        raise DataError(f"{where} must be of type {kind.__name__}, not {value!r}.")
    if isinstance(value, bool) and kind is not bool:
        raise DataError(f"{where} must be of type {kind.__name__}, not {value!r}.")
    if isinstance(value, (int, float)) and not 0 <= value < math.inf:
        raise DataError(f"{where} must be finite and not negative, it is {value!r}.")
    return kind(value)
