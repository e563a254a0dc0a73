"""Run the command line: one file per verb. Verbs import what they need when they run."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer

from pcr_rt.cli.benchmark import benchmark
from pcr_rt.cli.build import build
from pcr_rt.cli.calibrate import calibrate
from pcr_rt.cli.demo import demo
from pcr_rt.cli.doctor import doctor
from pcr_rt.cli.evaluate import evaluate
from pcr_rt.cli.export import export
from pcr_rt.cli.label import label
from pcr_rt.cli.rules import Command, Group, stops_properly
from pcr_rt.cli.run import run
from pcr_rt.cli.train import train
from pcr_rt.cli.verify import verify
from pcr_rt.errors import PoseError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Real-time human keypoints with Progressive Context Refinement.",
    cls=Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _add(verb: Callable[..., Any], name: str | None = None) -> None:
    app.command(name, cls=Command)(stops_properly(verb))


_add(demo)
_add(run)
_add(evaluate, "eval")
_add(train)
_add(label)
_add(calibrate)
_add(export)
_add(verify)
_add(build)
_add(benchmark)
_add(doctor)

_debug = False


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pcr-rt {version('pcr-rt')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show log lines, and a traceback for every error.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Real-time human keypoints with Progressive Context Refinement."""
    global _debug
    _debug = debug
    if not debug:  # a damaged image is one sentence of ours; read when OpenCV is imported
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING, format="%(levelname)s: %(message)s"
    )


def main() -> None:
    """Run the command line: exit code 2 and one sentence for a user's mistake."""
    for stream in (sys.stdout, sys.stderr):  # a name must not end the work in a Windows code page
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except PoseError as error:
        if _debug:
            traceback.print_exc()
        else:
            sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
