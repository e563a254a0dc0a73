"""What the parts of the stand-in share: a version's names, and classes that have no others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from onnx import TensorProto

TYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT64: "INT64",
}


class HostMemory(bytes):
    """What TensorRT's IHostMemory is to ``bytes``."""


class Checked:
    """Has the attributes that its class has in this version, and private ones."""

    _names: set[str]

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._check(name)
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._check(name)
        super().__setattr__(name, value)

    def _check(self, name: str) -> None:
        known = object.__getattribute__(self, "_names")
        kind = type(self).__name__
        if f"{kind}.{name}" not in known:
            raise AttributeError(f"{kind} has no attribute {name!r} in this version")


class ILogger:
    """TensorRT's base class of loggers."""

    Severity = IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)

    def __init__(self) -> None:
        self._ready = True


@dataclass
class Version:
    """A version of the API: its number ("rtx-" before that of TensorRT-RTX), its module, the names
    that it has, and what tests may change in its behaviour."""

    number: str
    names: set[str]
    module: Any
    behaviour: SimpleNamespace

    @property
    def is_rtx(self) -> bool:
        return self.number.startswith("rtx")

    @property
    def is_weak(self) -> bool:
        """Whether networks may leave the types of their layers open."""
        return self.number.startswith("8.")

    @property
    def base(self) -> type[Checked]:
        """The base of the version's classes."""
        return type("Versioned", (Checked,), {"_names": self.names})


def fail(logger: Any, message: str) -> None:
    """Log an error as TensorRT does, and return None."""
    logger.log(ILogger.Severity.ERROR, message)


def shape_of(value: Any) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
