"""``pcr-rt doctor``: what is installed, whether it works, and what to do if it does not."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from pcr_rt.cli.options import SkeletonName, Spec, model_reading

STYLES = {"ok": "green", "missing": "dim", "warning": "yellow", "error": "bold red"}


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(help="Look at this model alone: a shipped name or an .onnx file."),
    ] = None,
    skeleton: SkeletonName = None,
    spec: Spec = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the installation, or a model. Exit code 1 if something needed does not work."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from pcr_rt.doctor.diagnosis import check_model, diagnose

    reading = model_reading(skeleton, spec)
    checks = diagnose() if model is None else [check_model(model, **reading)]
    if json_output:
        typer.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        table = Table("", "", Column(overflow="fold"), box=box.SIMPLE, show_header=False)
        for check in checks:
            finding = Text(check.detail)
            if check.remedy:
                finding.append(f"\n{check.remedy}", style="cyan")
            table.add_row(Text(check.status, style=STYLES[check.status]), check.name, finding)
        Console().print(table)
    if any(check.status == "error" for check in checks):
        raise typer.Exit(1)
