"""``pcr-rt label``: a teacher's keypoints as training labels."""

from __future__ import annotations

import contextlib
import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pcr_rt.cli.options import (
    Detect,
    DetectorClass,
    Device,
    FlipTest,
    Model,
    SkeletonName,
    Spec,
    goes_on,
    model_reading,
    progress_bar,
)
from pcr_rt.cli.train import missing_training

if TYPE_CHECKING:
    from pcr_rt.labelling.images import Kept
    from pcr_rt.skeleton import Skeleton


FEW = 0.35
"""The share of a person's keypoints, 6 of COCO's 17, below which a labelling teaches little."""


def label(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE OUTPUT | ANNOTATIONS IMAGES OUTPUT",
            help="A folder of images or a video, and the JSON to write; or a COCO JSON with"
            " people's boxes, the folder of its images, and the JSON to write.",
        ),
    ],
    model: Model = ["auto"],  # noqa: B006
    min_score: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="SOURCE: keypoints with a lower score are left out."),
    ] = 0.5,
    every: Annotated[int, typer.Option(min=1, help="SOURCE: every n-th frame of a video.")] = 1,
    detector: Detect = "rtmdet-nano",
    rule: Annotated[
        Literal["teacher", "labels-first", "agreement"],
        typer.Option(help="ANNOTATIONS: what counts if people are labelled by hand already."),
    ] = "teacher",
    ignore_exif: Annotated[
        bool,
        typer.Option("--ignore-exif", help="ANNOTATIONS: made on images without their EXIF turn."),
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="SOURCE: this process, or all workers of a Ray cluster."),
    ] = "local",
    device: Device = "auto",
    flip_test: FlipTest = True,
    skeleton: SkeletonName = None,
    spec: Spec = None,
    detector_class: DetectorClass = None,
) -> None:
    """Label people, or whatever the teacher model finds, with its keypoints, for training.

    If the labelling of a SOURCE is killed, the same command continues where it stopped.
    """
    try:
        from pcr_rt.labelling.images import label_frames
        from pcr_rt.labelling.people import label_people
        from pcr_rt.labelling.ray import label_on_ray
    except ModuleNotFoundError as error:
        raise missing_training(error) from None
    from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
    from pcr_rt.errors import InputError
    from pcr_rt.inference.estimator import PoseEstimator
    from pcr_rt.models import DEFAULT_MODEL

    # The same labels on every machine.
    model = [DEFAULT_MODEL if m == "auto" else m for m in model]
    if len(paths) not in (2, 3):
        raise InputError("Give SOURCE and OUTPUT, or ANNOTATIONS, IMAGES and OUTPUT.")
    source, output = paths[0], paths[-1]
    has_boxes = len(paths) == 3
    # Raw scores are the heights of heatmaps, and so what a student's targets are to have.
    reading = model_reading(skeleton, spec)
    options: dict[str, Any] = {
        **reading,
        "device": device,
        "flip_test": flip_test,
        "calibrated": False,
    }
    if has_boxes:
        options |= {"detector": None, "nms": None, "score_threshold": 0.0}
    else:
        options |= {
            "detector": None if detector == "none" else detector,
            "detector_class": detector_class,
            "box_threshold": 0.2,
            "score_threshold": 0.2,
            "oks_threshold": 0.9,
        }
    frames: dict[str, Any] = {
        "min_score": min_score,
        "provenance": None if has_boxes else _provenance(model, detector, flip_test),
    }
    make_estimator = partial(PoseEstimator, model, **options)
    resumed = contextlib.nullcontext() if has_boxes else goes_on()
    with resumed, progress_bar("Labelling") as progress:
        if engine == "ray":
            if has_boxes:
                raise InputError("--engine ray labels a SOURCE: leave it out for ANNOTATIONS.")
            gpus = device.startswith("cuda")
            with contextlib.closing(
                OnnxRuntimeEngine(model[0], device="cpu", **reading)
            ) as engine_here:
                of_teacher = engine_here.spec.skeleton
            kept = label_on_ray(
                make_estimator,
                source,
                output,
                skeleton=of_teacher,
                gpus=gpus,
                progress=progress,
                **frames,
            )
        else:
            with make_estimator() as estimator:
                of_teacher = estimator.spec.skeleton
                if has_boxes:
                    count = label_people(
                        estimator,
                        source,
                        paths[1],
                        output,
                        rule=rule,
                        ignore_exif=ignore_exif,
                        progress=progress,
                    )
                    typer.echo(f"{output}: {count} people")
                    return
                kept = label_frames(
                    estimator, source, output, every=every, progress=progress, **frames
                )
    _report(kept, output, min_score, of_teacher)


def _report(kept: Kept, output: Path, min_score: float, skeleton: Skeleton) -> None:
    """Say what is in the file, and warn if that is little."""
    each = kept.keypoints / max(kept.people, 1)
    broken = f", {kept.broken} broken images left out" if kept.broken else ""
    typer.echo(
        f"{output}: {kept.images} images, {kept.people} people, {kept.keypoints} keypoints"
        f" ({each:.1f} a person){broken}"
    )
    if each < FEW * len(skeleton):
        typer.echo(
            f"few keypoints have a score of {min_score} or more: a lower --min-score keeps more of"
            " them, and a better teacher surer ones",
            err=True,
        )


def _provenance(model: list[str], detector: str, flip_test: bool) -> dict[str, Any]:
    """Describe what the labels were made with."""
    import pcr_rt
    from pcr_rt.models import model_path

    files = [model_path(m) for m in model]
    return {
        "models": [
            {"name": file.stem, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
            for file in files
        ],
        "detector": Path(detector).stem,
        "flip_test": flip_test,
        "pcr_rt": pcr_rt.__version__,
    }
