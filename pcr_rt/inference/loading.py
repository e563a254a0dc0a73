"""Choose the engine of a model: TensorRT if it can be used, else ONNX Runtime."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from pcr_rt.engines import Engine
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError, PoseError
from pcr_rt.models import AnyPrecision, ModelSpec, model_path

__all__ = ["make_engine", "onnx_for_tensorrt", "tensorrt_engine", "tensorrt_problem"]

log = logging.getLogger(__name__)


def make_engine(
    model: str | Path,
    *,
    spec: ModelSpec | None = None,
    device: str = "auto",
    precision: AnyPrecision = "auto",
    cache_dir: str | Path | None = None,
) -> Engine:
    """Make an engine of a shipped name, ``auto`` (see `model_path`), an .onnx or an .engine file.

    On the devices ``cuda`` and ``auto`` TensorRT is used if it, CuPy and a GPU are there; it
    builds an engine on first use. If that fails, ``auto`` goes on with ONNX Runtime and says so,
    ``cuda`` raises. Raises what `OnnxRuntimeEngine` and `tensorrt_engine` do.
    """
    by_name = device.partition(":")[0]
    if Path(model).suffix == ".engine":
        return _given_engine(Path(model), spec, device)
    problem = "" if by_name == "cpu" else tensorrt_problem(device)
    if by_name in ("auto", "cuda") and not problem:
        try:
            return tensorrt_engine(
                model, spec=spec, device=device, precision=precision, cache_dir=cache_dir
            )
        except PoseError as error:
            if by_name == "cuda":
                raise
            log.warning("%s ONNX Runtime is used instead.", error)
    try:
        engine = OnnxRuntimeEngine(model, spec=spec, device=device, precision=precision)
    except InputError as error:
        if by_name == "cuda" and problem:
            raise InputError(f"{error} TensorRT is no way out: {problem}") from None
        raise
    return _on_device(engine, device) if engine.provider == "cuda" else engine


def tensorrt_engine(
    model: str | Path,
    *,
    spec: ModelSpec | None = None,
    device: str = "cuda",
    precision: AnyPrecision = "auto",
    cache_dir: str | Path | None = None,
) -> Engine:
    """Get a model's TensorRT engine, cached or built now, and compare it with ONNX Runtime.

    precision ``auto`` takes the FP16 file of a shipped model. Raises ModelError if the engine
    cannot be built or differs too much from ONNX Runtime; then it is set aside, and the reason is
    remembered.
    """
    from pcr_rt.engines.gpu import device_number
    from pcr_rt.engines.tensorrt.api import load
    from pcr_rt.engines.tensorrt.builder import BuildOptions
    from pcr_rt.engines.tensorrt.cache import cached_engine
    from pcr_rt.engines.tensorrt.engine import TensorRTEngine
    from pcr_rt.engines.tensorrt.sidecar import Sidecar

    number = device_number(device)
    path = onnx_for_tensorrt(model, precision)
    expected = OnnxRuntimeEngine(path, spec=spec, device="cpu", precision=precision)
    try:
        api = load()
        plan, _ = cached_engine(
            api,
            path,
            expected.spec,
            BuildOptions(),
            device=number,
            cache_dir=cache_dir,
            progress=_Announcement(f"{api.product} {api.version}", path),
        )
        engine = TensorRTEngine(plan, spec=expected.spec, device=number)
        if engine.sidecar.agreement:
            return engine
        try:
            words = _compare(engine, expected)
        except ModelError as error:
            engine.close()
            dataclasses.replace(Sidecar.read(plan), failed=_remembered(error, plan)).write(plan)
            plan.unlink()
            raise
        dataclasses.replace(Sidecar.read(plan), agreement=words).write(plan)
        log.info("%s agrees with ONNX Runtime: %s", plan.name, words)
        return engine
    finally:
        expected.close()


class _Announcement:
    """Logs that a build of minutes has begun (as a warning) and its phases (as information)."""

    def __init__(self, product: str, path: Path) -> None:
        self._words, self._phase = f"{product} builds the engine of {path.name}", ""

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        if not self._phase:
            log.warning("%s: this happens once and may take minutes.", self._words)
        if phase != self._phase:
            log.info("%s: %s", self._words, phase)
            self._phase = phase or "first"


def _compare(engine: Engine, expected: Engine) -> str:
    from pcr_rt.inference.agreement import SAMPLE, check_agreement
    from pcr_rt.media import read_image

    return check_agreement(engine, expected, read_image(SAMPLE))


def _remembered(error: ModelError, plan: Path) -> str:
    return f"{error} It was set aside; delete {plan}.json to try again."


def onnx_for_tensorrt(model: str | Path, precision: AnyPrecision = "auto") -> Path:
    """Find the file for TensorRT's engine; ``auto`` is FP16 if a model is shipped in it.

    Raises ModelError as `model_path` does.
    """
    if precision == "auto" and not Path(model).suffix:
        try:
            return model_path(model, "fp16", gpu=True)
        except ModelError:
            pass
    return model_path(model, precision, gpu=True)


def _on_device(engine: OnnxRuntimeEngine, device: str) -> Engine:
    from pcr_rt.engines.gpu import device_number, gpu_facts
    from pcr_rt.engines.onnx_runtime_cuda import OnnxRuntimeCudaEngine

    try:
        gpu_facts(device_number(device))
    except PoseError as error:
        log.warning("%s runs on CUDA, but crops are made on the host: %s", engine.spec.name, error)
        return engine
    return OnnxRuntimeCudaEngine(engine, device_number(device))


def _given_engine(plan: Path, spec: ModelSpec | None, device: str) -> Engine:
    from pcr_rt.engines.gpu import device_number
    from pcr_rt.engines.tensorrt.engine import TensorRTEngine

    if device == "cpu":
        raise InputError(f"{plan} is a TensorRT engine, which needs a GPU: use device='cuda'.")
    return TensorRTEngine(plan, spec=spec, device=device_number(device))


def tensorrt_problem(device: str) -> str:
    """Say why TensorRT cannot be used; empty if it can."""
    try:
        from pcr_rt.engines.gpu import device_number, gpu_facts
        from pcr_rt.engines.tensorrt.api import load

        gpu_facts(device_number(device))
        load()
    except PoseError as error:
        return str(error)
    return ""
