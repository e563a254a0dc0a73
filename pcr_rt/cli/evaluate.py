"""``pcr-rt eval``: COCO keypoint AP of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pcr_rt.cli.options import (
    Detect,
    DetectorClass,
    Device,
    FlipTest,
    IgnoreExif,
    Model,
    Precision,
    SkeletonName,
    Spec,
    detector_or_none,
    progress_bar,
)

if TYPE_CHECKING:
    from pcr_rt.coco.evaluation import KeypointAP

EVAL_THRESHOLD, EVAL_OKS = 0.02, 0.9
"""The published protocol: AP rewards every further guess, so boxes of a low score count and only
near copies are suppressed. What a user sees has other defaults."""


def evaluate(
    annotations: Annotated[Path, typer.Argument(help="COCO person-keypoints JSON.")],
    images: Annotated[Path, typer.Argument(help="Folder of its images.")],
    model: Model = ["auto"],  # noqa: B006
    boxes: Annotated[
        str,
        typer.Option(
            help="'ground-truth', 'detector' (given by --detector), or a COCO results JSON."
        ),
    ] = "ground-truth",
    detector: Detect = "rtmdet-nano",
    device: Device = "auto",
    precision: Precision = "auto",
    skeleton_name: SkeletonName = None,
    detector_class: DetectorClass = None,
    spec: Spec = None,
    flip_test: FlipTest = False,
    decode: Annotated[
        Literal["none", "quarter", "dark"] | None,
        typer.Option(help="Heatmap decoding. Default: the model's own."),
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="The only category of people that counts, by name.")
    ] = None,
    ignore_exif: IgnoreExif = False,
    results: Annotated[
        Path | None, typer.Option(help="Write the COCO results JSON to this file.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure COCO keypoint AP, with boxes from the annotations, a detector or a file.

    As published: boxes from a score of 0.02, all people, OKS-NMS at 0.9, unlike what is shown by
    default.
    """
    from pcr_rt.coco import evaluation
    from pcr_rt.coco.pck import keypoint_pck
    from pcr_rt.files import check_json_output, refuse_inputs, write_whole
    from pcr_rt.inference.estimator import PoseEstimator

    if results is not None:
        check_json_output(results)
        refuse_inputs(results, annotations, Path(boxes))
    truth = boxes == "ground-truth"
    known: Any = boxes if boxes in ("ground-truth", "detector") else Path(boxes)
    with (
        PoseEstimator(
            model,
            detector=detector_or_none(detector) if boxes == "detector" else None,
            device=device,
            precision=precision,
            flip_test=flip_test,
            decode=decode,
            skeleton=skeleton_name,
            detector_class=detector_class,
            spec=spec,
            box_threshold=EVAL_THRESHOLD,
            score_threshold=0.0,
            # Ground truth has every person once, so there are no duplicates to suppress.
            nms=None if truth else "hard",
            oks_threshold=EVAL_OKS,
        ) as estimator,
        progress_bar("Evaluating") as progress,
    ):
        ap, found = evaluation.evaluate(
            estimator,
            annotations,
            images,
            boxes=known,
            progress=progress,
            category=category,
            ignore_exif=ignore_exif,
            skeleton=estimator.spec.skeleton,
        )
        skeleton = estimator.spec.skeleton
        pck = None if skeleton.sigmas else keypoint_pck(annotations, found, skeleton, category)
    if json_output:
        typer.echo(json.dumps({**ap.to_dict(), **({} if pck is None else {"pck": pck})}))
    else:
        _print_table(f"{', '.join(model)} on {annotations.name}, boxes: {Path(boxes).name}", ap)
        if pck is not None:
            typer.echo(
                f"PCK@0.1 {pck:.3f}: keypoints within a tenth of the box's longer side. The"
                f" skeleton {skeleton.name} has no sigmas, so AP takes 0.05 for each keypoint and"
                " is not comparable with others'."
            )
    if results is not None:
        write_whole(results, json.dumps(found).encode())


def _print_table(title: str, ap: KeypointAP) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    columns = {
        "AP": ap.ap,
        "AP50": ap.ap50,
        "AP75": ap.ap75,
        "AP M": ap.ap_medium,
        "AP L": ap.ap_large,
        "AR": ap.ar,
    }
    for name in columns:
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:.3f}" for value in columns.values()))
    Console().print(table)
    typer.echo(f"{ap.people} labelled people, {ap.results} results")
