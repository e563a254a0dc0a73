"""Which engine runs a model: TensorRT if it can be used, else ONNX Runtime."""

from __future__ import annotations

import dataclasses
import logging
from functools import cache
from pathlib import Path

from pcr_rt.engines import Engine
from pcr_rt.engines.gpu import check_kernels, device_number, gpu_facts, look_for_gpus
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError, ModelError, PoseError
from pcr_rt.models import AnyPrecision, ModelSpec, model_path
from pcr_rt.skeleton import Skeleton

__all__ = ["make_engine", "onnx_for_tensorrt", "tensorrt_engine", "tensorrt_problem"]

log = logging.getLogger(__name__)


def make_engine(
    model: str | Path,
    *,
    spec: ModelSpec | None = None,
    skeleton: Skeleton | None = None,
    device: str = "auto",
    precision: AnyPrecision = "auto",
    cache_dir: str | Path | None = None,
) -> Engine:
    """Make an engine for a shipped name, ``auto`` (see `model_path`), an .onnx or .engine file.

    On the devices ``cuda`` and ``auto`` TensorRT is used if it, CuPy and a GPU are there and our
    kernels compile, which is tried first; it builds an engine on first use. skeleton: of a pose
    model whose file does not name its own. If something fails,
    ``auto`` goes on with ONNX Runtime and says why once, ``cuda`` raises. Raises what
    `OnnxRuntimeEngine` and `tensorrt_engine` do.
    """
    by_name = device.partition(":")[0]
    if Path(model).suffix == ".engine":
        return _given_engine(Path(model), spec, device)
    problem = "" if by_name == "cpu" else tensorrt_problem(device)
    if by_name in ("auto", "cuda") and not problem:
        try:
            return tensorrt_engine(
                model,
                spec=spec,
                skeleton=skeleton,
                device=device,
                precision=precision,
                cache_dir=cache_dir,
            )
        except PoseError as error:
            if by_name == "cuda":
                raise
            _say_once(f"{error} ONNX Runtime is used instead.")
    try:
        engine = OnnxRuntimeEngine(
            model, spec=spec, skeleton=skeleton, device=device, precision=precision
        )
    except InputError as error:
        if by_name == "cuda" and problem:
            raise InputError(f"{problem} Nor is there another way: {error}") from None
        raise
    if engine.provider == "cuda":
        return _on_device(engine, device)
    if by_name == "auto" and problem and not look_for_gpus().problem:
        _say_once(f"Models run on the CPU, though there is a GPU: {problem}")
    return engine


def tensorrt_engine(
    model: str | Path,
    *,
    spec: ModelSpec | None = None,
    skeleton: Skeleton | None = None,
    device: str = "cuda",
    precision: AnyPrecision = "auto",
    cache_dir: str | Path | None = None,
) -> Engine:
    """Make the TensorRT engine of a model, from the cache or built now, compared with ONNX Runtime.

    precision ``auto`` takes the FP16 file of a shipped model. Raises ModelError if the engine
    cannot be built or differs too much from ONNX Runtime; then it is set aside, and the reason is
    remembered. Raises MissingDependencyError before it builds if our kernels do not compile.
    """
    from pcr_rt.engines.tensorrt.api import load
    from pcr_rt.engines.tensorrt.builder import BuildOptions
    from pcr_rt.engines.tensorrt.cache import cached_engine, set_aside
    from pcr_rt.engines.tensorrt.engine import TensorRTEngine
    from pcr_rt.engines.tensorrt.sidecar import Sidecar

    number = device_number(device)
    check_kernels(number)
    path = onnx_for_tensorrt(model, precision)
    expected = OnnxRuntimeEngine(
        path, spec=spec, skeleton=skeleton, device="cpu", precision=precision
    )
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
            raise set_aside(plan, Sidecar.read(plan), error) from None
        engine.trim()  # the comparison's buffers
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


def onnx_for_tensorrt(model: str | Path, precision: AnyPrecision = "auto") -> Path:
    """Return the file that an engine is built from; ``auto`` is FP16 if a model is shipped so.

    Raises ModelError as `model_path` does.
    """
    if precision == "auto" and not Path(model).suffix:
        try:
            return model_path(model, "fp16", gpu=True)
        except ModelError:
            pass
    return model_path(model, precision, gpu=True)


def _on_device(engine: OnnxRuntimeEngine, device: str) -> Engine:
    from pcr_rt.engines.onnx_runtime_cuda import OnnxRuntimeCudaEngine

    number = device_number(device)
    try:
        gpu_facts(number)
        check_kernels(number)
        return OnnxRuntimeCudaEngine(engine, number)
    except PoseError as error:
        _say_once(f"{engine.spec.name} runs on CUDA, but crops are made on the host: {error}")
        return engine


def _given_engine(plan: Path, spec: ModelSpec | None, device: str) -> Engine:
    from pcr_rt.engines.tensorrt.engine import TensorRTEngine

    if device == "cpu":
        raise InputError(f"{plan} is a TensorRT engine, which needs a GPU: use device='cuda'.")
    number = device_number(device)
    gpu_facts(number)
    check_kernels(number)
    return TensorRTEngine(plan, spec=spec, device=number)


def tensorrt_problem(device: str) -> str:
    """Say why TensorRT cannot be used; empty if it can. Takes seconds, not minutes."""
    try:
        from pcr_rt.engines.tensorrt.api import load

        number = device_number(device)
        facts = gpu_facts(number)
        load().check_capability(facts["sm"])
        check_kernels(number)
    except PoseError as error:
        return str(error)
    return ""


@cache
def _say_once(sentence: str) -> None:
    log.warning("%s", sentence)
