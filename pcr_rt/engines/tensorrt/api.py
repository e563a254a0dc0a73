"""TensorRT or TensorRT-RTX, whichever is installed: its version, its logger, what it can do."""

from __future__ import annotations

import importlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pcr_rt.errors import InputError, MissingDependencyError

__all__ = ["Api", "Journal", "Product", "load", "logger"]

log = logging.getLogger(__name__)

Product = Literal["TensorRT", "TensorRT-RTX"]
MODULES: dict[Product, str] = {"TensorRT": "tensorrt", "TensorRT-RTX": "tensorrt_rtx"}
OLDEST = (8, 6)
NEWEST: dict[Product, tuple[int, int]] = {"TensorRT": (11, 4), "TensorRT-RTX": (1, 7)}
"""The newest versions whose names of the API our code was checked against."""


@dataclass(frozen=True)
class Api:
    """An imported TensorRT: ``module`` is `tensorrt` or `tensorrt_rtx`."""

    module: Any
    product: Product
    version: str

    @property
    def is_rtx(self) -> bool:
        """Whether kernels are made on the user's GPU at run time instead of at build time."""
        return self.product == "TensorRT-RTX"

    @property
    def strongly_typed(self) -> bool:
        """Whether a network has the precision that its ONNX file says; 8.6 needs flags."""
        return hasattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    def check_capability(self, sm: str) -> None:
        """InputError for a compute capability, such as ``9.0``, that RTX makes no kernels for."""
        name = f"SM{sm.replace('.', '')}"
        if self.is_rtx and not hasattr(self.module.ComputeCapability, name):
            raise InputError(
                f"TensorRT-RTX {self.version} makes no kernels for compute capability {sm}:"
                ' install TensorRT, pip install ".[cuda13]".'
            )

    @property
    def precision_path(self) -> str:
        """Say where the precision of an engine comes from."""
        if self.strongly_typed:
            return "strongly typed: precision is what the ONNX file says"
        return "weakly typed: FP16 and INT8 flags, FP32 layers of the ONNX file held to FP32"

    def network_flags(self) -> int:
        """Return the flags of a network whose batch may be open and whose types are the file's."""
        names = self.module.NetworkDefinitionCreationFlag
        if hasattr(names, "EXPLICIT_BATCH") and not self.strongly_typed:
            return 1 << int(names.EXPLICIT_BATCH)
        return 1 << int(names.STRONGLY_TYPED)


def load(product: Product | None = None) -> Api:
    """Import TensorRT, else TensorRT-RTX, or just the one that is asked for.

    Raises MissingDependencyError if none can be used, with the reason, and for versions before
    8.6. Versions that are newer than the tested ones are warned about once.
    """
    reasons = []
    for name in [product] if product else list(MODULES):
        try:
            module = importlib.import_module(MODULES[name])
            module.ILogger  # noqa: B018 - a folder of that name imports as an empty package
        except (ImportError, OSError, AttributeError) as error:
            # A wheel without its libraries raises OSError or ImportError.
            reasons.append(f"{name}: {' '.join(str(error).split())}")
            continue
        version = str(module.__version__)
        if name == "TensorRT" and _numbers(version) < OLDEST:
            reasons.append(f"TensorRT {version} is too old, 8.6 is the oldest that works")
            continue
        if _numbers(version) > NEWEST[name]:
            _warn_untested(name, version)
        return Api(module, name, version)
    raise MissingDependencyError(
        f"TensorRT cannot be used ({'; '.join(reasons)}): pip install '.[cuda13]' or"
        " '.[cuda12]' on x86-64, or '.[rtx]' for TensorRT-RTX; on a Jetson it comes with"
        " JetPack."
    )


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = (*version.split("."), "0")
    return int(major), int(minor)


@lru_cache
def _warn_untested(product: Product, version: str) -> None:
    newest = ".".join(map(str, NEWEST[product]))
    log.warning("%s %s is newer than %s, the newest tested version.", product, version, newest)


class Journal:
    """TensorRT's messages: errors are kept, since it returns None or False instead of raising."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=20)
        self._lock = threading.Lock()
        self.listener: Callable[[str], None] | None = None

    def write(self, severity: str, message: str) -> None:
        """Take one message; severity is the name of TensorRT's."""
        if severity == "VERBOSE":
            return
        if "ERROR" in severity:
            with self._lock:
                self._errors.append(message)
        log.log(logging.INFO if severity == "WARNING" else logging.DEBUG, "%s", message)
        if severity == "INFO" and self.listener is not None:
            self.listener(message)

    def forget(self) -> None:
        """Forget the errors so far."""
        with self._lock:
            self._errors.clear()

    def last_error(self) -> str:
        """Return the last error since `forget`, on one line."""
        with self._lock:
            return " ".join(self._errors[-1].split())[:400] if self._errors else "no reason given"


_loggers: dict[Any, Any] = {}
_loggers_lock = threading.Lock()


def logger(api: Api) -> Any:
    """Return the process's one logger of this TensorRT, which ignores a second one.

    Its ``journal`` is a `Journal`.
    """
    with _loggers_lock:
        if api.module not in _loggers:
            _loggers[api.module] = _make_logger(api.module)
        return _loggers[api.module]


def _make_logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.journal = Journal()

        def log(self, severity: Any, message: str) -> None:
            self.journal.write(severity.name, message)

    return Logger()
