"""``pcr-rt calibrate``: make a pose model's scores probabilities."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcr_rt.cli.options import (
    Detect,
    Device,
    IgnoreExif,
    SkeletonName,
    Spec,
    detector_or_none,
    progress_bar,
)
from pcr_rt.cli.train import missing_training
from pcr_rt.errors import InputError

if TYPE_CHECKING:
    from pcr_rt.coco.calibrate import Outcomes


def calibrate(
    model: Annotated[str, typer.Argument(help="Shipped name or .onnx file of a pose model.")],
    annotations: Annotated[Path, typer.Argument(help="COCO person-keypoints JSON.")],
    images: Annotated[Path, typer.Argument(help="Folder of its images.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .onnx file to write: the model, calibrated."),
    ] = None,
    detector: Detect = "rtmdet-nano",
    device: Device = "auto",
    skeleton: SkeletonName = None,
    spec_file: Spec = None,
    ignore_exif: IgnoreExif = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how often a pose model's scores are right, and fit the curves that make it so.

    Images in which people have no label (boxes_complete: false) and images without people are left
    out. What is shown of the curves is measured on images that they were not fitted to.
    """
    from pcr_rt.coco.calibrate import fit_calibration, judge_images
    from pcr_rt.files import refuse_inputs
    from pcr_rt.inference.estimator import PoseEstimator
    from pcr_rt.models import model_path

    source = model_path(model)
    if output is not None:
        try:
            from pcr_rt.export.metadata import rewrite_spec
        except ModuleNotFoundError as error:
            raise missing_training(error) from None
        if output.suffix != ".onnx":
            raise InputError(f"{output} would be no model file to others: give a name in .onnx.")
        refuse_inputs(output, source, annotations)
    with (
        PoseEstimator(
            source,
            detector=detector_or_none(detector),
            device=device,
            score_threshold=0.0,
            calibrated=False,
            skeleton=skeleton,
            spec=spec_file,
        ) as estimator,
        progress_bar("Judging") as progress,
    ):
        spec = estimator.spec
        judged = judge_images(
            estimator,
            annotations,
            images,
            skeleton=spec.skeleton,
            ignore_exif=ignore_exif,
            progress=progress,
        )
    fitted = fit_calibration(judged)
    report = {
        "keypoints": _measured(judged.keypoints),
        "people": _measured(judged.people),
        "calibration": dataclasses.asdict(fitted),
    }
    if json_output:
        typer.echo(json.dumps(report))
    else:
        _print(report)
    if output is not None:
        rewrite_spec(source, dataclasses.replace(spec, calibration=fitted), output)
        if not json_output:
            typer.echo(output)


def _measured(outcomes: Outcomes) -> dict[str, Any]:
    """Errors of the raw scores, and of probabilities from curves fitted to other images."""
    from pcr_rt.coco.calibrate import brier_score, calibration_error, cross_fitted

    scores = {"raw": outcomes.scores.clip(0, 1), "calibrated": cross_fitted(outcomes)}
    table: dict[str, Any] = {
        "count": len(outcomes.scores),
        "right": round(float(outcomes.right.mean()), 4),
    }
    for name, probabilities in scores.items():
        table[name] = {
            "expected_calibration_error": round(
                calibration_error(probabilities, outcomes.right), 4
            ),
            "brier_score": round(brier_score(probabilities, outcomes.right), 4),
        }
    return table


def _print(report: dict[str, Any]) -> None:
    for what in ("keypoints", "people"):
        table = report[what]
        raw, calibrated = (tuple(table[kind].values()) for kind in ("raw", "calibrated"))
        typer.echo(
            f"{table['count']} {what}, {table['right']:.1%} of them right: calibration error"
            f" {raw[0]:.3f} raw, {calibrated[0]:.3f} calibrated; Brier score {raw[1]:.3f} and"
            f" {calibrated[1]:.3f}"
        )
