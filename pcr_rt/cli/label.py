"""``pcr-rt label``: a teacher's keypoints as training labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pcr_rt.cli.options import Device, FlipTest, Model, progress_bar
from pcr_rt.cli.train import missing_training


def label(
    annotations: Annotated[Path, typer.Argument(help="COCO JSON with people's boxes.")],
    images: Annotated[Path, typer.Argument(help="Folder of its pictures.")],
    output: Annotated[Path, typer.Argument(help="The JSON to write.")],
    model: Model = ["auto"],  # noqa: B006
    rule: Annotated[
        Literal["teacher", "labels-first", "agreement"],
        typer.Option(help="What counts where people are labelled by hand already."),
    ] = "teacher",
    device: Device = "auto",
    flip_test: FlipTest = True,
) -> None:
    """Label people with a teacher model's keypoints, for training."""
    try:
        from pcr_rt.training.labelling import label_people
    except ModuleNotFoundError as error:
        raise missing_training(error) from None
    from pcr_rt.estimator import PoseEstimator

    with (
        PoseEstimator(
            model,
            detector=None,
            device=device,
            flip_test=flip_test,
            score_threshold=0.0,
            nms=None,
        ) as estimator,
        progress_bar("Labelling") as progress,
    ):
        count = label_people(estimator, annotations, images, output, rule=rule, progress=progress)
    typer.echo(f"{output}: {count} people")
