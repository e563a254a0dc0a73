"""``pcr-rt build``: the TensorRT engine of a model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcr_rt.cli.options import Device, Precision, SkeletonName, Spec, model_reading
from pcr_rt.errors import InputError

if TYPE_CHECKING:
    from pcr_rt.engines.tensorrt.api import Api


def build(
    model: Annotated[str, typer.Argument(help="Shipped name or .onnx file.")],
    precision: Precision = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The engine file. Default: in the cache."),
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option("--for", help="TensorRT-RTX only, needs no GPU: sm75 to sm121; repeatable."),
    ] = None,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Largest batch of the default profiles.")
    ] = 16,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MIN,OPT,MAX",
            help="Batch sizes of a profile, instead of --max-batch; repeatable.",
        ),
    ] = None,
    workspace_mb: Annotated[
        int | None, typer.Option(min=1, help="Device memory that one layer's kernel may use.")
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(min=0, max=5, help="Optimisation level, 0 to 5; a higher one builds longer."),
    ] = None,
    device: Device = "auto",
    skeleton: SkeletonName = None,
    spec_file: Spec = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder for built engines.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build the TensorRT engine of a model for this GPU, or find it in the cache."""
    from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
    from pcr_rt.engines.tensorrt.api import load
    from pcr_rt.engines.tensorrt.builder import BuildOptions, usual_profiles
    from pcr_rt.engines.tensorrt.cache import cached_engine
    from pcr_rt.engines.tensorrt.sidecar import Sidecar
    from pcr_rt.files import refuse_inputs
    from pcr_rt.inference.loading import onnx_for_tensorrt
    from pcr_rt.streaming.shutdown import finished_first

    profiles = tuple(map(_profile, profile)) if profile else usual_profiles(max_batch)
    options = BuildOptions(profiles, workspace_mb, level, tuple(capability or ()))
    api = load("TensorRT-RTX" if capability else None)
    path = onnx_for_tensorrt(model, precision)
    if output is not None:
        refuse_inputs(output, path)
    reading = model_reading(skeleton, spec_file)
    with contextlib.closing(
        OnnxRuntimeEngine(path, device="cpu", precision=precision, **reading)
    ) as engine:
        spec = engine.spec
    if not json_output:
        typer.echo(f"{path.name}: {spec.precision}, {api.product} {api.version}")
    # TensorRT swallows what is raised in its calls back, and stops if its progress monitor says so.
    with finished_first() as heard, _phases(heard) as progress:
        plan, is_new = cached_engine(
            api,
            path,
            spec,
            options,
            device=_device(api, device),
            cache_dir=cache_dir,
            output=output,
            retry=True,
            progress=progress,
        )
    sidecar = Sidecar.read(plan)
    if json_output:
        facts = {"engine": str(plan), "built": is_new, "types": sidecar.types}
        typer.echo(json.dumps({**facts, "types_from": sidecar.types_from, "key": sidecar.key}))
        return
    layers = ", ".join(f"{count} {name}" for name, count in sidecar.types.items())
    source = "read back from the engine" if sidecar.types_from == "inspector" else "as parsed"
    typer.echo(f"layers, {source}: {layers}")
    if api.is_rtx:
        typer.echo("kernels are compiled on the GPU at the first run, not here")
    size = plan.stat().st_size / 1e6
    typer.echo(f"{plan}: {size:.1f} MB, {'built' if is_new else 'already there'}")


def _device(api: Api, device: str) -> int | None:
    """Return the GPU's number; None if there is none, which TensorRT-RTX can do without."""
    from pcr_rt.engines.gpu import check_kernels, device_number, gpu_facts
    from pcr_rt.errors import PoseError

    number = device_number(device)
    try:
        gpu_facts(number)
        check_kernels(number)  # of no use without them, and they take seconds
    except PoseError:
        if api.is_rtx and device == "auto":
            return None
        raise
    return number


def _profile(text: str) -> tuple[int, int, int]:
    try:
        low, usual, high = map(int, text.split(","))
    except ValueError:
        raise InputError(f"--profile {text!r} is not MIN,OPT,MAX, such as 1,4,16.") from None
    return low, usual, high


@contextlib.contextmanager
def _phases(heard: list[int]) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show bars on stderr, one for each phase that is under way; stop once Ctrl-C is heard."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    silent = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as bars:
        tasks = {}

        def report(phase: str, done: int, total: int | None) -> None:
            if heard:
                raise KeyboardInterrupt("no engine is written")
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase[:60], total=total)
            bars.update(tasks[phase], completed=done, total=total, visible=done != total)

        yield report
