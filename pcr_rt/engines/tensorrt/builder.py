"""Builds a TensorRT plan of an ONNX file; every way of failing is one sentence."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcr_rt.engines.tensorrt.api import Api, Journal, logger
from pcr_rt.engines.tensorrt.precision import (
    check_precision,
    hold_fp32_layers,
    network_types,
)
from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import ModelSpec

__all__ = [
    "BuildError",
    "BuildOptions",
    "Built",
    "Progress",
    "ProgressCallback",
    "build_plan",
    "usual_profiles",
]

log = logging.getLogger(__name__)

DATA_DEPENDENT = ("NMS", "NON_ZERO")
"""Layers whose output has a size that the input's shape does not tell."""

ProgressCallback = Callable[[str, int, int | None], None]
"""Takes a phase, the steps done and their number; None: unknown, steps are then seconds."""


class BuildError(ModelError):
    """TensorRT took the network and could not build it, which it says after minutes."""


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built for.

    profiles: (smallest, usual, largest) batch; each profile is tuned anew. workspace_mb: device
    memory that a layer's method may use, None: all there is. optimization_level: 0 to 5, None:
    TensorRT's own (3). targets: compute capabilities such as ``sm86``, TensorRT-RTX only; none:
    8.0, 8.6, 8.9, 12.0 and later. Raises InputError for values that make no sense.
    """

    profiles: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (1, 4, 16))
    workspace_mb: int | None = None
    optimization_level: int | None = None
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.profiles:
            raise InputError("An engine needs at least one profile, such as (1, 4, 16).")
        for low, usual, high in self.profiles:
            # TensorRT would take a smallest batch of 0 and fail later.
            if not 1 <= low <= usual <= high:
                raise InputError(
                    f"The profile {low}, {usual}, {high} makes no sense: give the smallest, the"
                    " usual and the largest batch, at least 1 and in this order."
                )
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise InputError(f"workspace_mb is {self.workspace_mb}; give a positive number.")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise InputError(f"The optimization level is {self.optimization_level}; give 0 to 5.")


def usual_profiles(max_batch: int) -> tuple[tuple[int, int, int], ...]:
    """Give one profile for one person, the most frequent batch, and one for up to ``max_batch``."""
    one = ((1, 1, 1),)
    return one if max_batch == 1 else (*one, (1, min(4, max_batch), max_batch))


@dataclass(frozen=True)
class Built:
    """A plan, the types of its network as parsed, and the timing cache for the next build."""

    plan: bytes
    types: dict[str, int] = field(default_factory=dict)
    timing_cache: bytes = b""


def build_plan(
    api: Api,
    model: Path,
    spec: ModelSpec,
    options: BuildOptions | None = None,
    *,
    timing_cache: bytes = b"",
    progress: ProgressCallback | None = None,
) -> Built:
    """Build the plan of an .onnx file whose spec is ``spec``, on the current device.

    Raises ModelError at once if the file cannot be parsed, is of another precision than its spec
    says or has outputs that no buffer can be made for; BuildError if it fails after minutes; and
    InputError for options that this TensorRT does not have.
    """
    options = options or BuildOptions()
    writer = logger(api)
    journal = writer.journal
    journal.forget()
    trt = api.module
    try:
        builder = trt.Builder(writer)
    except (TypeError, RuntimeError):  # a null pointer of the factory
        raise ModelError(
            f"{api.product} {api.version} cannot build here: {journal.last_error()}."
            " It needs an NVIDIA GPU and its driver; 'pcr-rt doctor' tells what is missing."
        ) from None
    network = builder.create_network(api.network_flags())
    parser = trt.OnnxParser(network, writer)
    _parse(api, parser, network, model)
    types = network_types(network)
    check_precision(spec.precision, types, f"The ONNX file {model}")
    _check_outputs(network, model)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if not api.strongly_typed:
        _weakly_typed(trt, config, network, spec)
    _set_targets(api, config, options.targets)
    _add_profiles(builder, config, network, spec, options, journal)
    timing = None
    if not api.is_rtx:
        timing = _timing_cache(config, timing_cache)
    watch = Progress(api, config, journal, progress) if progress else None
    plan = builder.build_serialized_network(network, config)
    if watch is not None:
        watch.done()
    if plan is None:
        raise BuildError(f"{api.product} cannot build {model}: {journal.last_error()}")
    kept = bytes(timing.serialize()) if timing is not None else b""
    return Built(bytes(plan), types, kept)


def _parse(api: Api, parser: Any, network: Any, model: Path) -> None:
    try:
        content = model.read_bytes()
    except OSError as error:
        raise ModelError(f"The model file {model} cannot be read: {error.strerror}.") from None
    parsed = parser.parse(content)
    # An empty file, and garbage that is valid protobuf by chance, parse without an error.
    if parsed and network.num_outputs:
        if network.num_inputs != 1:
            raise ModelError(
                f"The model file {model} has {network.num_inputs} inputs; engines take images only."
            )
        return
    if not parser.num_errors:
        raise ModelError(f"The model file {model} is no ONNX model: it has no outputs.")
    first = parser.get_error(0)
    place = f" at node {first.node_name()!r}" if hasattr(first, "node_name") else ""
    hint = "" if api.strongly_typed else " TensorRT 8.6 reads opset 17 and below."
    reason = " ".join(str(first.desc()).split())[:400]
    raise ModelError(f"{api.product} {api.version} cannot parse {model}{place}: {reason}{hint}")


def _check_outputs(network: Any, model: Path) -> None:
    """ModelError for outputs whose size only a run can tell: those of a detector's own NMS."""
    kinds = {network.get_layer(i).type.name for i in range(network.num_layers)}
    found = sorted(kinds & set(DATA_DEPENDENT))
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    for output in outputs if found else ():
        if -1 in tuple(output.shape)[1:]:
            raise ModelError(
                f"The output {output.name!r} of {model} has a size that depends on the image"
                f" ({', '.join(found)} inside): run it on ONNX Runtime, or export it without its"
                " NMS."
            )


def _timing_cache(config: Any, content: bytes) -> Any:
    """The cache of an earlier build; an empty one if TensorRT cannot read it."""
    for one in (content, b""):
        timing = config.create_timing_cache(one)
        if timing is not None and config.set_timing_cache(timing, False):
            return timing
        log.info("The timing cache is not used: measurements are made anew.")
    return None


def _weakly_typed(trt: Any, config: Any, network: Any, spec: ModelSpec) -> None:
    """TensorRT 8.6 computes in what its flags allow, not in what the file says."""
    # Several contexts of one profile: one a worker and batch. Later versions always allow it.
    config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if spec.precision == "fp32":
        return
    config.set_flag(trt.BuilderFlag.FP16)
    if spec.precision == "int8":
        # A file for 8.6 has an FP32 remainder, which is allowed to become FP16.
        config.set_flag(trt.BuilderFlag.INT8)
        return
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    hold_fp32_layers(trt, network)


def _set_targets(api: Api, config: Any, targets: tuple[str, ...]) -> None:
    if not targets:
        return
    if not api.is_rtx:
        raise InputError(
            f"{api.product} builds for the GPU that it runs on; only TensorRT-RTX takes targets."
        )
    known = api.module.ComputeCapability
    names = [target.upper() for target in targets]
    for name in names:
        if not (name.startswith("SM") and hasattr(known, name)):
            offered = ", ".join(n.lower() for n in dir(known) if n.startswith("SM"))
            raise InputError(f"{name.lower()!r} is no target of TensorRT-RTX; it has {offered}.")
    config.num_compute_capabilities = len(names)
    for i, name in enumerate(names):
        config.set_compute_capability(getattr(known, name), i)


def _add_profiles(
    builder: Any,
    config: Any,
    network: Any,
    spec: ModelSpec,
    options: BuildOptions,
    journal: Any,
) -> None:
    tensor = network.get_input(0)
    shape = tuple(tensor.shape)
    width, height = spec.input_size
    wanted = (3, height, width)
    fits = len(shape) == 4 and all(
        have in (-1, want) for have, want in zip(shape[1:], wanted, strict=True)
    )
    if not fits:
        raise ModelError(
            f"The input {shape} of model {spec.name!r} does not take {('N', *wanted)} as its spec"
            " says."
        )
    if -1 not in shape:
        return
    for batches in options.profiles if shape[0] == -1 else [(shape[0],) * 3]:
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, *((batch, *wanted) for batch in batches))
        if config.add_optimization_profile(profile) < 0:
            raise ModelError(f"The profile {batches} is refused: {journal.last_error()}")


class Progress:
    """Reports a build's phases, by IProgressMonitor if it exists, else by the logger's lines."""

    def __init__(self, api: Api, config: Any, journal: Journal, report: ProgressCallback) -> None:
        self._report, self._journal = report, journal
        self._steps: dict[str, int] = {}
        self._start = time.monotonic()
        self.stopped: BaseException | None = None
        if hasattr(api.module, "IProgressMonitor"):
            config.progress_monitor = self._monitor = _make_monitor(api.module, self)
        else:
            journal.listener = lambda line: report(line, int(time.monotonic() - self._start), None)

    def done(self) -> None:
        """Stop listening; raises what stopped the build, such as KeyboardInterrupt."""
        self._journal.listener = None
        if self.stopped is not None:
            raise self.stopped

    def begin(self, phase: str, steps: int) -> None:
        """Begin a phase of so many steps."""
        self._steps[phase] = steps
        self.step(phase, 0)

    def step(self, phase: str, done: int) -> bool:
        """Report a step; False asks TensorRT to stop, since it cannot pass exceptions on."""
        try:
            self._report(phase, done, self._steps.get(phase))
        except BaseException as error:
            self.stopped = error
        return self.stopped is None


def _make_monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.begin(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step + 1)

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()
