"""A plot of the rows: milliseconds a frame by stage, one bar a case. matplotlib, when asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcr_rt.benchmark.measure import Row
from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.inference.estimator import STAGES

__all__ = ["check_plot", "plot"]

FORMATS = (".png", ".svg", ".pdf")
COLOURS = ("#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7")
"""Okabe and Ito's, which the colour-blind can tell apart; one a stage."""


def check_plot(path: Path) -> None:
    """Raise InputError unless ``path`` names a plot in a folder that exists.

    Raises MissingDependencyError without matplotlib.
    """
    if path.is_dir() or not path.parent.is_dir() or path.suffix not in FORMATS:
        raise InputError(
            f"{path} cannot be written: name a {', '.join(FORMATS)} file in a folder that exists."
        )
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingDependencyError('A plot needs matplotlib: pip install ".[plot]".') from None


def plot(rows: Sequence[Row], suffix: str) -> bytes:
    """Draw the rows from top to bottom: medians of the stages, and a line to the 95th percentile.

    suffix: of the file that the bytes are for.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    left = np.zeros(len(rows))
    for stage, colour in zip(STAGES, COLOURS, strict=True):
        widths = np.array([row.stages_ms[stage]["p50"] for row in rows])
        axes.barh(places, widths, left=left, color=colour, label=stage)
        left += widths
    for place, row, end in zip(places, rows, left, strict=True):
        high = max(row.ms["p95"], end)
        axes.plot([end, high], [place, place], color="black", linewidth=1, marker="|")
        axes.annotate(f" {row.fps:.1f} frames/s", (high, place), va="center", fontsize="small")
    axes.set_yticks(places, [row.title for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(left.max(), *(row.ms["p95"] for row in rows)))
    axes.set_xlabel("ms a frame: medians of the stages, line to the 95th percentile")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(ncols=len(COLOURS), loc="outside upper center", frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix[1:], dpi=150)
    return stream.getvalue()
