"""``pcr-rt benchmark``: what the models take on this machine."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pcr_rt.cli.options import Detect, Device, SkeletonName, Spec, detector_or_none, progress_bar
from pcr_rt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Column

    from pcr_rt.benchmark import Row


def benchmark(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[SOURCE]", help="Image or video. Default: the sample clip."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Shipped name or .onnx file; several are compared. Default: all that are shipped.",
        ),
    ] = None,
    precision: Annotated[
        Literal["all", "auto", "fp32", "fp16", "int8"],
        typer.Option(help="all: in turns all that a model is shipped in, with TensorRT auto."),
    ] = "all",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Frames of this size with copies of one person, no SOURCE."
        ),
    ] = None,
    people: Annotated[int, typer.Option(min=1, max=50, help="How many copies --size has.")] = 4,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Frames a call; several are compared. Default: 1; GPU: 1, 4, 8."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Calls of each, in turns.")] = 30,
    detector: Detect = "rtmdet-nano",
    device: Device = "auto",
    skeleton: SkeletonName = None,
    spec: Spec = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the stages as bars: .png, .svg or .pdf."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time models from frame to people, stage by stage, in turns on the same frames.

    On a GPU each comes eager and as a CUDA graph. The JSON has all figures.
    """
    from pcr_rt.annotate import SAMPLE_CLIP
    from pcr_rt.benchmark import describe_machine, frames_of, made_frame, measure, open_cases
    from pcr_rt.benchmark.plot import check_plot, plot
    from pcr_rt.files import write_whole
    from pcr_rt.skeleton import Skeleton
    from pcr_rt.spec_file import read_spec

    if plot_file is not None:
        check_plot(plot_file)
    if size is not None and source is not None:
        raise InputError("--size makes its own frames: leave out the file, or the size.")
    if size is None:
        frames = frames_of(source or SAMPLE_CLIP, rounds)
    else:
        frames = [made_frame(_size(size), people)[0]]
    machine = describe_machine()
    with (
        open_cases(
            model or (),
            precisions=() if precision == "all" else (precision,),
            batches=batch or (),
            detector=detector_or_none(detector),
            device=device,
            spec=None if spec is None else read_spec(spec),
            skeleton=None if skeleton is None else Skeleton.load(skeleton),
        ) as cases,
        progress_bar("Measuring", before="Loading") as progress,
    ):
        rows = measure(cases, frames, rounds, progress)
    height, width = frames[0].shape[:2]
    report: dict[str, Any] = {
        "machine": machine,
        "source": size or (source or SAMPLE_CLIP).name,
        "size": [width, height],
        "rounds": rounds,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    if json_output:
        typer.echo(json.dumps(report))
    else:
        _print(report, rows)
    if plot_file is not None:
        write_whole(plot_file, plot(rows, plot_file.suffix))
        if not json_output:
            typer.echo(plot_file)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{3,4})x(\d{3,4})", text, re.ASCII)
    if found is None:
        raise InputError(
            f"--size is {text!r}; give a width and a height of 100 to 9999, as in 1280x720."
        )
    return int(found[1]), int(found[2])


def _print(report: dict[str, Any], rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from pcr_rt.inference.estimator import STAGES

    machine = report["machine"]
    features = "unknown" if machine["features"] is None else ", ".join(machine["features"])
    typer.echo(
        f"{machine['processor']}, {machine['cores']} cores, instructions: {features or 'none'};"
        f" load {machine['load']} before the run"
    )
    for name in machine["gpus"]:
        typer.echo(name)
    width, height = report["size"]
    providers = sorted({row.provider for row in rows})
    typer.echo(
        f"{report['source']}, {width}x{height}, {report['rounds']} calls of each, in turns, on"
        f" {' and '.join(providers)}"
    )
    whole = Table(*_columns("frames/s", "ms P50", "P95", "ratio", "quartiles", "people", "MiB"))
    mixed = len(providers) > 1
    stages = Table(*_columns(*STAGES), *["runs on"] * mixed)
    for row in rows:
        whole.add_row(
            row.title,
            f"{row.fps:.1f}",
            f"{row.ms['p50']:.1f}",
            f"{row.ms['p95']:.1f}",
            f"{row.ratio['p50']:.2f}",
            "{p25:.2f}-{p75:.2f}".format(**row.ratio),
            f"{row.people:.1f}",
            "" if row.memory_mib is None else f"{row.memory_mib:.0f}",
        )
        figures = ("{p50:.1f}/{p95:.1f}".format(**row.stages_ms[stage]) for stage in STAGES)
        stages.add_row(row.title, *figures, *[row.provider] * mixed)
    for table in (whole, stages):
        table.box = box.SIMPLE
        Console().print(table)
    typer.echo(
        "ms: of a frame, in stages P50/P95; ratio: to the first on the same frame; MiB: by which"
        " memory grew."
    )


def _columns(*numbers: str) -> list[Column]:
    from rich.table import Column

    title = Column("model", no_wrap=True)
    return [title, *(Column(name, justify="right") for name in numbers)]
