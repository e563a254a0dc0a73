"""``pcr-rt export``: a trained checkpoint as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pcr_rt.cli.train import missing_training
from pcr_rt.errors import InputError


def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.pt of a run.")],
    output: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    width: Annotated[
        int | None, typer.Option(help="Input width, with --height; the run's last unless given.")
    ] = None,
    height: Annotated[int | None, typer.Option(help="Input height, with --width.")] = None,
) -> None:
    """Write a trained network as ONNX (FP32) with its ModelSpec, checked against torch."""
    try:
        from pcr_rt.export.checkpoint import export_checkpoint
    except ModuleNotFoundError as error:
        raise missing_training(error) from None
    if (width is None) != (height is None):
        raise InputError("Give both --width and --height, or neither.")
    size = None if width is None or height is None else (width, height)
    spec, difference = export_checkpoint(checkpoint, output, size=size)
    typer.echo(
        f"{output}: {spec.name}, input {spec.input_size[0]}x{spec.input_size[1]} (w x h),"
        f" {output.stat().st_size / 1e6:.1f} MB, largest difference from torch {difference:.1e}"
    )
