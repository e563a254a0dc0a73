"""``pcr-rt verify``: is one artefact as good as another?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pcr_rt.cli.options import (
    Device,
    Reading,
    SkeletonName,
    Spec,
    model_reading,
    progress_bar,
)

WORST = 4


def verify(
    reference: Annotated[str, typer.Argument(help="A shipped name, an .onnx or an .engine file.")],
    candidate: Annotated[
        str, typer.Argument(help="The same; NAME:fp16 and NAME:int8 are shipped files too.")
    ],
    images: Annotated[
        Path | None, typer.Argument(help="Folder of images. Default: the sample image.")
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(help="COCO JSON of the images: compares the AP of pose models too."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Median shift of sure keypoints in input pixels.")
    ] = 2.0,
    least_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="For detectors: median overlap (IoU) of boxes.")
    ] = 0.9,
    ap_tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="How much AP the candidate may lose.")
    ] = 0.01,
    worst: Annotated[
        Path, typer.Option(help="Folder for the worst images, written on failure.")
    ] = Path("verify-worst"),
    device: Device = "auto",
    skeleton: SkeletonName = None,
    spec: Spec = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare an artefact with a reference: keypoints or boxes, and AP. Exit code 1 if it fails."""
    import numpy as np

    from pcr_rt.errors import InputError
    from pcr_rt.files import refuse_inputs
    from pcr_rt.inference.verification import SAMPLE, compare, differences
    from pcr_rt.media import list_images

    if images is not None:
        refuse_inputs(worst, images)
    if annotations is not None and images is None:
        raise InputError("--annotations needs the folder of its images: give IMAGES.")
    reading = model_reading(skeleton, spec)
    engines = [_engine(name, device, reading) for name in (reference, candidate)]
    is_detector = engines[0].spec.is_detector
    if annotations is not None and is_detector:
        raise InputError("--annotations measures keypoint AP, which is not for detectors.")
    paths = [SAMPLE] if images is None else list_images(images)
    with progress_bar("Comparing") as progress:
        found = compare(engines[0], engines[1], paths, progress=progress)
    values = differences(found)
    tail = 5 if is_detector else 95
    report: dict[str, Any] = {
        "unit": found[0].unit,
        "images": len(found),
        "compared": len(values),
        "median": round(float(np.median(values)), 4),
        f"percentile_{tail}": round(float(np.percentile(values, tail)), 4),
    }
    median = report["median"]
    passed = median >= least_overlap if is_detector else median <= tolerance
    if annotations is not None and images is not None:
        report["ap"] = [_ap(engine, annotations, images) for engine in engines]
        passed = passed and report["ap"][1] >= report["ap"][0] - ap_tolerance
    report["passed"] = passed
    problem: InputError | None = None
    if not passed:
        order = sorted(found, key=lambda c: c.worst if is_detector else -c.worst)
        try:
            report["worst"] = [str(_draw(c, worst)) for c in order[:WORST]]
        except InputError as error:
            problem = error
    typer.echo(json.dumps(report) if json_output else _words(report))
    if problem is not None:
        typer.echo(problem, err=True)
    if not passed:
        raise typer.Exit(1)


def _engine(name: str, device: str, reading: Reading) -> Any:
    from pcr_rt.inference.loading import make_engine

    model, _, given = name.partition(":")
    precision: Any = given if given in ("fp32", "fp16", "int8") else "auto"
    model = model if precision == given else name
    return make_engine(model, device=device, precision=precision, **reading)


def _ap(engine: Any, annotations: Path, images: Path) -> float:
    from pcr_rt.coco.evaluation import evaluate
    from pcr_rt.inference.estimator import PoseEstimator

    estimator = PoseEstimator(engine, detector=None, score_threshold=0.0, nms=None)
    with progress_bar("Evaluating") as progress:
        return round(
            evaluate(
                estimator, annotations, images, progress=progress, skeleton=estimator.spec.skeleton
            )[0].ap,
            4,
        )


def _draw(comparison: Any, folder: Path) -> Path:
    """Write an image with the reference's people on the left, the candidate's on the right."""
    import numpy as np

    from pcr_rt.files import make_folder
    from pcr_rt.media import read_image, write_image

    frame = read_image(comparison.image)
    sides = [
        poses.draw(frame, colours="sides", scores=True)
        for poses in (comparison.first, comparison.second)
    ]
    path = folder / f"{comparison.image.name}.jpg"
    make_folder(folder)
    write_image(path, np.hstack(sides))
    return path


def _words(report: dict[str, Any]) -> str:
    tail = next(key for key in report if key.startswith("percentile"))
    things = "keypoints" if report["unit"] == "px" else "boxes"
    plural = "s" if report["images"] > 1 else ""
    lines = [
        f"{report['compared']} {things} in {report['images']} image{plural}: median"
        f" {report['median']:.2f} {report['unit']}, {tail.removeprefix('percentile_')} %"
        f" {report[tail]:.2f} {report['unit']}"
    ]
    if "ap" in report:
        lines.append("AP {:.3f} and {:.3f}".format(*report["ap"]))
    lines.append("passed" if report["passed"] else "failed")
    lines += [f"worst: {path}" for path in report.get("worst", [])]
    return "\n".join(lines)
