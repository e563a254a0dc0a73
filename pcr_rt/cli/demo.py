"""``pcr-rt demo``: the shipped models on the shipped clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcr_rt.cli.options import Device, Model, SkeletonName, Spec, make_estimator, progress_bar

if TYPE_CHECKING:
    from pcr_rt.annotate import Summary

SHEET_FRAMES = 9


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for video, JSON lines and sheet.")
    ] = Path("demo-output"),
    model: Model = ["auto"],  # noqa: B006
    device: Device = "auto",
    skeleton: SkeletonName = None,
    spec: Spec = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run on the sample clip: an annotated video, JSON lines and a contact sheet."""
    from pcr_rt.annotate import run_demo

    with make_estimator(
        model, "rtmdet-nano", device, "auto", False, skeleton=skeleton, spec=spec
    ) as estimator:
        estimator.warmup()
        with progress_bar("Sample clip") as progress:
            summary = run_demo(estimator, output, progress=progress, sheet_frames=SHEET_FRAMES)
        name = estimator.spec.name
    if json_output:
        typer.echo(json.dumps(summary.to_dict()))
    else:
        _report(name, summary)
    if summary.interrupted:
        raise KeyboardInterrupt("the files are finished")


def _report(name: str, summary: Summary) -> None:
    typer.echo(
        f"{name}: {summary.frames} frames, {summary.people}"
        f" {'person' if summary.people == 1 else 'people'} by id,"
        f" {summary.fps:.1f} frames a second with reading, drawing and writing"
    )
    stages = summary.stage_means_ms()
    typer.echo("ms per frame: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in stages.items()))
    for path in summary.outputs:
        typer.echo(path)
