"""What is timed: a model file in a precision, eager or as a CUDA graph, some frames at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcr_rt.benchmark.machine import resident_mib
from pcr_rt.engines import Binding, DeviceEngine, Engine
from pcr_rt.errors import InputError, ModelError
from pcr_rt.inference.detector import Detector
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.inference.loading import make_engine, tensorrt_problem
from pcr_rt.models import (
    DEFAULT_MODEL,
    AnyPrecision,
    ModelSpec,
    Precision,
    model_path,
    shipped_models,
)
from pcr_rt.skeleton import Skeleton

__all__ = ["Case", "Eager", "open_cases"]

DETECTORS = {"rtmdet-nano"}
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
DEVICE_BATCHES = (1, 4, 8)
WARM_PEOPLE = 8


class Eager:
    """An engine whose work is not recorded in CUDA graphs."""

    def __init__(self, engine: DeviceEngine) -> None:
        self.spec, self.device, self.max_batch = engine.spec, engine.device, engine.max_batch
        self.run, self.close, self._bind = engine.run, engine.close, engine.bind

    def bind(self, batch: int) -> Binding:
        """Bind as the engine does, and say that the work cannot be recorded."""
        binding = self._bind(batch)
        binding.capturable = False
        return binding


@dataclass(frozen=True)
class Case:
    """An estimator to time.

    provider: what runs the pose network. mode: ``host``, or on a device ``eager`` or ``graph``.
    batch: frames of one call. memory_mib: by which the process grew when the model was loaded and
    run for the first time; None if the system does not say.
    """

    model: str
    precision: str
    provider: str
    mode: str
    batch: int
    estimator: PoseEstimator
    memory_mib: float | None

    @property
    def title(self) -> str:
        """The case in a few words: pcr-tiny FP32 graph x4."""
        words = [self.model, self.precision.upper()]
        if self.mode != "host":
            words.append(self.mode)
        if self.batch > 1:
            words.append(f"x{self.batch}")
        return " ".join(words)


@contextmanager
def open_cases(
    models: Sequence[str | Path] = (),
    *,
    precisions: Sequence[AnyPrecision] = (),
    batches: Sequence[int] = (),
    detector: str | Path | None = "rtmdet-nano",
    device: str = "auto",
    spec: ModelSpec | None = None,
    skeleton: Skeleton | None = None,
) -> Iterator[list[Case]]:
    """Load and warm up what is to be timed, and close it at the end.

    models: shipped names or paths; none: every shipped pose model. precisions: of shipped models;
    none: all that are shipped, with TensorRT ``auto`` alone, since it takes minutes to build an
    engine. batches: frames a call; none: 1, on a GPU 4 and 8 too. On a GPU each comes eager and,
    if the engine can be recorded, as a CUDA graph. spec, skeleton: of the one model file. Raises
    ModelError if a model cannot be used.
    """
    if spec is not None and len(models) != 1:
        raise InputError("A spec is of one model file: give one path as the model.")
    names = models or _pose_models()
    every = device == "cpu" or bool(tensorrt_problem(device))
    with ExitStack() as stack:
        finder = None
        if detector is not None:
            finder = Detector(detector, device=device)
            stack.callback(finder.close)
        cases: list[Case] = []
        for name in names:
            for precision in precisions or (_shipped(name) if every else ("auto",)):
                before = resident_mib()
                pose = make_engine(
                    name, spec=spec, skeleton=skeleton, device=device, precision=precision
                )
                stack.callback(pose.close)
                for mode, estimator in _modes(pose, finder):
                    estimator.warmup(WARM_PEOPLE)
                    now = resident_mib()
                    grown = None if before is None or now is None else now - before
                    on_host = mode == "host"
                    for batch in batches or ((1,) if on_host else DEVICE_BATCHES):
                        found = pose.spec.name, pose.spec.precision, _provider(pose), mode, batch
                        cases.append(Case(*found, estimator, grown))
        yield cases


def _pose_models() -> list[str]:
    """The shipped pose models, the default first, to which the others are compared."""
    names = [name for name in shipped_models() if name not in DETECTORS]
    return sorted(names, key=lambda name: name != DEFAULT_MODEL)


def _shipped(model: str | Path) -> Sequence[AnyPrecision]:
    """The precisions of a model's files: of one given by its path, its own."""
    if Path(model).suffix:
        return ("auto",)
    found: list[AnyPrecision] = []
    for precision in PRECISIONS:
        with suppress(ModelError):
            model_path(model, precision)
            found.append(precision)
    return found or ("auto",)  # which says what is wrong with the name


def _provider(engine: Engine) -> str:
    """What runs an engine: ``cpu`` or ``cuda`` of ONNX Runtime, or TensorRT."""
    return str(getattr(engine, "provider", type(engine).__name__.removesuffix("Engine")))


def _modes(pose: Engine, detector: Detector | None) -> Iterator[tuple[str, PoseEstimator]]:
    if not isinstance(pose, DeviceEngine):
        yield "host", PoseEstimator(pose, detector=detector)
        return
    eager: Any = Eager(pose)
    finder = detector
    if detector is not None and isinstance(detector.engine, DeviceEngine):
        finder = Detector(Eager(detector.engine), class_index=detector.class_index)
    yield "eager", PoseEstimator(eager, detector=finder)
    if pose.bind(1).capturable:
        yield "graph", PoseEstimator(pose, detector=detector)
