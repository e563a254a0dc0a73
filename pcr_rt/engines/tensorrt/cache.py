"""Built engines on disk: found again by everything they depend on, rebuilt when in doubt."""

from __future__ import annotations

import dataclasses
import json
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pcr_rt.engines.gpu import gpu_facts, on
from pcr_rt.engines.tensorrt.api import Api, logger
from pcr_rt.engines.tensorrt.builder import BuildError, BuildOptions, ProgressCallback, build_plan
from pcr_rt.engines.tensorrt.context import make_context, shape_context
from pcr_rt.engines.tensorrt.precision import check_precision, engine_types
from pcr_rt.engines.tensorrt.sidecar import (
    Sidecar,
    cache_folder,
    differences,
    locked,
    sha256,
    sidecar_path,
    vouch,
    write_private,
)
from pcr_rt.errors import ModelError, PoseError
from pcr_rt.models import ModelSpec

__all__ = ["cached_engine", "deserialize", "engine_key", "machine_key", "set_aside"]

log = logging.getLogger(__name__)


def machine_key(api: Api, device: int | None) -> dict[str, Any]:
    """Return what an engine needs of the machine; device None: TensorRT-RTX without a GPU."""
    product = {"product": api.product, "version": api.version}
    return product if device is None else {**product, **gpu_facts(device)}


def engine_key(
    api: Api, model: Path, spec: ModelSpec, options: BuildOptions, device: int | None
) -> dict[str, Any]:
    """Return everything that an engine depends on, as JSON keeps it."""
    try:
        digest = sha256(model.read_bytes())
    except OSError as error:
        raise ModelError(f"The model file {model} cannot be read: {error.strerror}.") from None
    key = {
        "onnx_sha256": digest,
        "precision": spec.precision,
        "input_size": spec.input_size,
        **machine_key(api, device),
        **dataclasses.asdict(options),
    }
    table: dict[str, Any] = json.loads(json.dumps(key))
    return table


def cached_engine(
    api: Api,
    model: Path,
    spec: ModelSpec,
    options: BuildOptions | None = None,
    *,
    device: int | None = 0,
    cache_dir: str | Path | None = None,
    output: Path | None = None,
    retry: bool = False,
    progress: ProgressCallback | None = None,
) -> tuple[Path, bool]:
    """Find the engine file of a model or build it; returns it and whether it was built now.

    device: the GPU, None: none, which TensorRT-RTX alone can do. output: the file, instead of one
    in the cache. retry: build again what failed before. Of several processes one builds and the
    others wait for its file. Raises ModelError for a model that cannot be built or whose engine was
    set aside, InputError if the file cannot be written.
    """
    options = options or BuildOptions()
    key = engine_key(api, model, spec, options, device)
    digest = sha256(json.dumps(key, sort_keys=True).encode())[:16]
    name = f"{model.name.partition('.')[0]}-{spec.precision}"
    plan = output or cache_folder(cache_dir) / f"{name}-{digest}.engine"
    with locked(plan.with_name(f"{plan.name}.lock")):
        if plan.exists() or sidecar_path(plan).exists():
            try:
                sidecar, _ = vouch(plan, key)
                return plan, False
            except ModelError as error:
                if _was_set_aside(plan, key) and not retry:
                    raise
                log.warning("%s It is built again.", error)
        else:
            _say_what_changed(plan, name, key)
        log.info("%s %s builds %s", api.product, api.version, plan.name)
        kept = cache_folder(cache_dir) / f"timing-{_machine_digest(api, device)}.cache"
        with nullcontext() if device is None else on(device):
            try:
                built = build_plan(
                    api,
                    model,
                    spec,
                    options,
                    timing_cache=kept.read_bytes() if kept.is_file() else b"",
                    progress=progress,
                )
            except BuildError as error:
                if output is not None:  # a file of the user's, which may be an older engine
                    raise
                raise set_aside(plan, Sidecar("", key, spec), error) from None
            # Written before it is judged: minutes of work, and a verdict that is remembered.
            sidecar = Sidecar(sha256(built.plan), key, spec, built.types)
            write_private(plan, built.plan)
            sidecar.write(plan)
            if built.timing_cache:
                write_private(kept, built.timing_cache)
            if not api.is_rtx:
                # RTX makes its kernels at run time: what was parsed is all that can be told.
                _read_back(api, built.plan, sidecar, plan)
    return plan, True


def deserialize(api: Api, content: bytes, plan: Path) -> tuple[Any, Any]:
    """Load a plan on the current device; returns its runtime, which has to live as long, and it."""
    writer = logger(api)
    writer.journal.forget()
    runtime = api.module.Runtime(writer)
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise ModelError(
            f"{api.product} {api.version} cannot load {plan}: {writer.journal.last_error()}"
        )
    return runtime, engine


def set_aside(plan: Path, sidecar: Sidecar, error: ModelError) -> ModelError:
    """Delete an engine that is wrong and remember why, so that no start spends minutes on it.

    Returns the error to raise, which says so.
    """
    words = f"{error} That is remembered: 'pcr-rt build' tries again."
    dataclasses.replace(sidecar, failed=words).write(plan)
    plan.unlink(missing_ok=True)
    return ModelError(words)


def _read_back(api: Api, content: bytes, sidecar: Sidecar, plan: Path) -> None:
    """Write down the types of the built engine, which have to be those that were asked for."""
    runtime, engine = deserialize(api, content, plan)
    try:
        context = make_context(api, engine)
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        is_input = api.module.TensorIOMode.INPUT
        name = next(n for n in names if engine.get_tensor_mode(n) == is_input)
        shape = tuple(engine.get_tensor_profile_shape(name, 0)[1])
        shape_context(api, context, 0, name, shape)
        types = engine_types(api.module, engine, context)
    except ModelError as error:  # no memory for one: that is no fault of the engine
        log.warning("The types of %s cannot be read back: %s", plan.name, error)
        return
    del context, engine, runtime
    if not types:
        log.warning("The inspector of %s %s tells no types of layers.", api.product, api.version)
        return
    try:
        check_precision(sidecar.spec.precision, types, f"The engine of {sidecar.spec.name!r}")
    except ModelError as error:
        raise set_aside(plan, sidecar, error) from None
    dataclasses.replace(sidecar, types=types, types_from="inspector").write(plan)


def _was_set_aside(plan: Path, key: dict[str, Any]) -> bool:
    """Whether this very engine was built before and found wrong."""
    try:
        sidecar = Sidecar.read(plan)
    except PoseError:
        return False
    return bool(sidecar.failed) and not differences(sidecar.key, key)


def _say_what_changed(plan: Path, name: str, key: dict[str, Any]) -> None:
    """One line on why the engine that is most alike cannot be used."""
    reasons = []
    for other in plan.parent.glob(f"{name}-*.engine"):
        try:
            reasons.append(differences(Sidecar.read(other).key, key))
        except ModelError:
            continue
    if reasons:
        log.warning("An engine is built anew: there is one with %s.", min(reasons, key=len))


def _machine_digest(api: Api, device: int | None) -> str:
    return sha256(json.dumps(machine_key(api, device), sort_keys=True).encode())[:16]
