"""Run the command line: one file per verb. Verbs import what they need when they run."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from typing import Annotated

import typer

from pcr_rt.cli.benchmark import benchmark
from pcr_rt.cli.build import build
from pcr_rt.cli.calibrate import calibrate
from pcr_rt.cli.demo import demo
from pcr_rt.cli.doctor import doctor
from pcr_rt.cli.evaluate import evaluate
from pcr_rt.cli.export import export
from pcr_rt.cli.label import label
from pcr_rt.cli.run import run
from pcr_rt.cli.train import train
from pcr_rt.cli.verify import verify
from pcr_rt.errors import PoseError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Real-time human keypoints with Progressive Context Refinement.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(demo)
app.command()(run)
app.command("eval")(evaluate)
app.command()(train)
app.command()(label)
app.command()(calibrate)
app.command()(export)
app.command()(verify)
app.command()(build)
app.command()(benchmark)
app.command()(doctor)

_debug = False


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show log lines, and a traceback for every error.")
    ] = False,
) -> None:
    """Real-time human keypoints with Progressive Context Refinement."""
    global _debug
    _debug = debug
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
    except KeyboardInterrupt:  # before typer handles it
        sys.exit(130)
