"""Define the options that several verbs share, and the progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

if TYPE_CHECKING:
    from pcr_rt.inference.estimator import PoseEstimator
    from pcr_rt.models import AnyPrecision, ModelSpec
    from pcr_rt.skeleton import Skeleton

__all__ = [
    "BoxThreshold",
    "Detect",
    "DetectorClass",
    "Device",
    "FlipTest",
    "Model",
    "Precision",
    "ScoreThreshold",
    "SkeletonName",
    "Spec",
    "detector_or_none",
    "goes_on",
    "make_estimator",
    "model_reading",
    "progress_bar",
]

Model = Annotated[
    list[str],
    typer.Option("--model", "-m", help="Shipped name or .onnx file; several make an ensemble."),
]
Detect = Annotated[
    str, typer.Option("--detector", help="Shipped name, .onnx file, or 'none': the whole frame.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")]
FlipTest = Annotated[
    bool,
    typer.Option(
        "--flip-test/--no-flip-test", help="Average with the mirrored crop: twice the work."
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "fp16", "int8"],
    typer.Option(help="Precision of the models; auto: FP16 on TensorRT, else FP32."),
]
BoxThreshold = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Lowest score of a box that is looked at.")
]
ScoreThreshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Lowest score of a person; default: a probability of 0.5, raw 0.14 if the model has no"
        " calibration.",
    ),
]
SkeletonName = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        metavar="NAME|FILE",
        help="What the model's keypoints are, if its file does not say so: halpe26, hand21 ... or"
        " a .toml file.",
    ),
]
Spec = Annotated[
    Path | None,
    typer.Option(
        "--spec",
        metavar="FILE",
        help="How to read the model, in place of what its file says: JSON or TOML of ModelSpec's"
        " fields.",
    ),
]
IgnoreExif = Annotated[
    bool,
    typer.Option(
        "--ignore-exif", help="The labels were made on the images without their EXIF turn."
    ),
]
DetectorClass = Annotated[
    int | None,
    typer.Option(
        "--detector-class",
        min=0,
        help="Which of the detector's classes is looked for, counted from 0; default: people.",
    ),
]


def detector_or_none(name: str) -> str | None:
    """Turn ``--detector`` into PoseEstimator's argument."""
    return None if name == "none" else name


class Reading(TypedDict):
    """How a model file is to be read; None: as it says itself."""

    skeleton: Skeleton | None
    spec: ModelSpec | None


def model_reading(skeleton: str | None, spec: Path | None) -> Reading:
    """Turn ``--skeleton`` and ``--spec`` into the arguments of engines. Raises InputError."""
    from pcr_rt.skeleton import Skeleton
    from pcr_rt.spec_file import read_spec

    return {
        "skeleton": None if skeleton is None else Skeleton.load(skeleton),
        "spec": None if spec is None else read_spec(spec),
    }


def make_estimator(
    model: list[str],
    detector: str,
    device: str,
    precision: AnyPrecision,
    flip_test: bool,
    box_threshold: float = 0.3,
    score_threshold: float | None = None,
    skeleton: str | None = None,
    detector_class: int | None = None,
    spec: str | Path | None = None,
) -> PoseEstimator:
    """Make the estimator that the shared options describe."""
    from pcr_rt.inference.estimator import PoseEstimator

    return PoseEstimator(
        model,
        detector=detector_or_none(detector),
        device=device,
        precision=precision,
        flip_test=flip_test,
        box_threshold=box_threshold,
        score_threshold=score_threshold,
        skeleton=skeleton,
        detector_class=detector_class,
        spec=spec,
    )


@contextmanager
def goes_on() -> Iterator[None]:
    """Let Ctrl-C say that the work inside is taken up where it was left."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from there") from None


@contextmanager
def progress_bar(
    what: str, before: str | None = None
) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on stderr; the yielded function takes (done, total or None).

    before: what it says until that is called.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # In a file or a pipe even a transient bar leaves an empty line.
    silent = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        task = bar.add_task(before or what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total, description=what)
