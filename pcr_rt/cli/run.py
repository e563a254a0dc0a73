"""``pcr-rt run``: keypoints of images, videos, cameras and network streams."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pcr_rt.cli.options import (
    BoxThreshold,
    Detect,
    DetectorClass,
    Device,
    FlipTest,
    Model,
    Precision,
    ScoreThreshold,
    SkeletonName,
    Spec,
    goes_on,
    make_estimator,
    progress_bar,
)
from pcr_rt.errors import InputError

if TYPE_CHECKING:
    from pcr_rt.annotate import Summary
    from pcr_rt.drawing import DrawOptions
    from pcr_rt.inference.estimator import PoseEstimator
    from pcr_rt.streaming.open import SourceOptions
    from pcr_rt.streaming.page import LivePage
    from pcr_rt.streaming.sinks import Window

OUTPUT = Path("pcr-rt-output")
MAX_LINES = 40
"""Files that are listed by name."""


def run(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Image, folder (with all images and videos below it), video, camera number,"
            " csi://0, URL or GStreamer pipeline; several videos or cameras run together.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help=f"Folder for the annotated files. Default: {OUTPUT}, or none with --show or"
            " --serve.",
        ),
    ] = None,
    model: Model = ["auto"],  # noqa: B006
    detector: Detect = "rtmdet-nano",
    device: Device = "auto",
    precision: Precision = "auto",
    box_threshold: BoxThreshold = 0.3,
    score_threshold: ScoreThreshold = None,
    flip_test: FlipTest = False,
    skeleton: SkeletonName = None,
    detector_class: DetectorClass = None,
    spec: Spec = None,
    show: Annotated[bool, typer.Option("--show", help="Show the result in a window.")] = False,
    colours: Annotated[
        Literal["people", "sides"],
        typer.Option(help="One for each person, or left orange and right blue."),
    ] = "people",
    scores: Annotated[
        bool, typer.Option("--scores", help="Write each person's score above them.")
    ] = False,
    serve: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Serve a live page, on 127.0.0.1 unless a host is given; others need the token"
            " that is printed.",
        ),
    ] = None,
    track: Annotated[bool, typer.Option(help="Give people lasting ids.")] = True,
    smooth: Annotated[bool, typer.Option(help="Steady the keypoints of tracked people.")] = True,
    detect_every: Annotated[
        str, typer.Option(help="How often to look for new people: a time, or a number of frames.")
    ] = "0.5s",
    width: Annotated[int | None, typer.Option(min=1, help="Asked of a camera.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="Asked of a camera.")] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Asked of a camera; of a folder among several sources, its rate."),
    ] = None,
    fourcc: Annotated[
        str | None,
        typer.Option(help="Format asked of a camera; MJPG is fast on USB."),
    ] = None,
    decoder: Annotated[
        Literal["cpu", "nvdec", "auto", "nvv4l2"] | None,
        typer.Option(help="For videos and network streams; default: cpu; nvv4l2: a Jetson's own."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: share the files of a folder out on a Ray cluster (RAY_ADDRESS)."),
    ] = "local",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find people's keypoints and write annotated files and JSON lines.

    What an earlier run over a folder finished is skipped. Exit code 1 if one of the images or
    videos of a folder, or one of several sources, failed.
    """
    asked: SourceOptions = {
        "width": width,
        "height": height,
        "fps": fps,
        "fourcc": fourcc,
        "decoder": decoder,
    }
    tracking = {"track": track, "smooth": smooth, "detect_every": detect_every}
    drawing: DrawOptions = {"colours": colours, "scores": scores}
    make = partial(
        make_estimator,
        model,
        detector,
        device,
        precision,
        flip_test,
        box_threshold=box_threshold,
        score_threshold=score_threshold,
        skeleton=skeleton,
        detector_class=detector_class,
        spec=None if spec is None else str(spec),  # it goes into the journal of a folder
    )
    if os.path.isdir(sources[0]) and len(sources) == 1:
        of_cameras = {name: value for name, value in asked.items() if name != "decoder"}
        _refuse({"show": show or None, "serve": serve, **of_cameras}, "folders")
        about = {"model": [*map(str, make.args)], **make.keywords, **tracking, **drawing}
        options: dict[str, Any] = {"about": about, "asked": asked, "drawing": drawing, **tracking}
        gpus = engine == "ray" and device.startswith("cuda")
        summary = _bulk(make, Path(sources[0]), output or OUTPUT, engine, gpus, options)
        _finish(summary, json_output)
        return
    if engine == "ray":
        raise InputError("--engine ray shares out a folder: name one, or leave the option out.")
    if images := _images(sources):
        _refuse({"show": show or None, "serve": serve, **asked}, "images")
    window = _window() if show else None  # that there is none is said before anything is loaded
    with make() as estimator:
        if images:
            summary = _annotate(estimator, images, output or OUTPUT, drawing)
        else:
            options = {"drawing": drawing, **tracking}
            summary = _stream(estimator, sources, output, window, serve, asked, options)
    _finish(summary, json_output)


def _finish(summary: Summary, json_output: bool) -> None:
    if json_output:
        typer.echo(json.dumps(summary.to_dict()))
    else:
        _print(summary)
    if summary.interrupted:
        raise KeyboardInterrupt("the files are finished" if summary.outputs else "no files")
    if summary.failed:
        raise typer.Exit(1)


def _print(summary: Summary) -> None:
    typer.echo(
        f"{summary.frames} {'frame' if summary.frames == 1 else 'frames'},"
        f" {summary.people} {'person' if summary.people == 1 else 'people'},"
        f" {summary.fps:.1f} frames a second"
    )
    for source in summary.sources:
        if source.shown < source.read or source.reconnects:
            typer.echo(
                f"{source.name}: {source.read} read, {source.dropped} dropped, {source.failed}"
                f" failed, {source.reconnects} reconnects"
            )
    if len(summary.outputs) <= MAX_LINES:
        for path in summary.outputs:
            typer.echo(path)
    else:
        places = sorted({path.parent for path in summary.outputs})
        others = len(places) - 1
        more = f" and {others} other folder{'s' if others > 1 else ''}" if others else ""
        typer.echo(f"{len(summary.outputs)} files in {places[0]}{more}")
    if summary.skipped:
        typer.echo(f"finished by an earlier run: {summary.skipped}")
    if summary.failures:
        for name, reason in summary.failures.items():
            typer.echo(f"{name}: {reason}", err=True)
    if summary.failed:
        what = "sources failed" if summary.sources else _left_out(summary.failures)
        typer.echo(f"{what}: {summary.failed}", err=True)


def _left_out(failures: Mapping[str, str]) -> str:
    from pcr_rt.media import is_video

    return "files left out" if any(map(is_video, failures)) else "images left out"


def _images(sources: list[str]) -> list[Path]:
    """List the images that are meant, if these are images."""
    from pcr_rt.media import is_image

    if all("://" not in s and is_image(s) and os.path.exists(s) for s in sources):
        return [Path(source) for source in sources]
    return []


def _refuse(given: Mapping[str, Any], what: str) -> None:
    """Raise InputError for an option that does not apply to images or folders."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"--{name} is for videos and cameras, not for {what}: leave it out.")


def _bulk(
    make: Callable[[], PoseEstimator],
    folder: Path,
    output: Path,
    engine: str,
    gpus: bool,
    options: dict[str, Any],
) -> Summary:
    from pcr_rt.bulk import process_folder, process_folder_on_ray

    with goes_on(), progress_bar("Estimating") as progress:
        if engine == "ray":
            return process_folder_on_ray(
                make, folder, output, gpus=gpus, progress=progress, **options
            )
        with make() as estimator:
            return process_folder(estimator, folder, output, progress=progress, **options)


def _annotate(
    estimator: PoseEstimator, images: list[Path], output: Path, drawing: DrawOptions
) -> Summary:
    from pcr_rt.annotate import process_images

    with progress_bar("Estimating") as progress:
        return process_images(estimator, images, output, drawing=drawing, progress=progress)


def _window() -> Window:
    from pcr_rt.streaming.sinks import Window

    return Window()


def _stream(
    estimator: PoseEstimator,
    sources: list[str],
    output: Path | None,
    window: Window | None,
    serve: str | None,
    asked: SourceOptions,
    options: dict[str, Any],
) -> Summary:
    from pcr_rt.annotate import process_stream
    from pcr_rt.streaming.open import open_sources
    from pcr_rt.streaming.page import LivePage
    from pcr_rt.streaming.sinks import Sink

    if output is None and not (window or serve):
        output = OUTPUT
    opened = open_sources(sources, **asked)  # before a file is made for what is not there
    sinks: list[Sink] = []
    if serve is not None:
        page = LivePage.at(serve)
        _announce(page)
        sinks.append(page)
    with progress_bar("Estimating", "Waiting for the first frame") as progress:
        return process_stream(
            estimator,
            opened,
            [] if output is None else _files(sources, output),
            sinks=sinks,
            progress=progress,
            watch=window.show if window else None,
            **options,
        )


def _files(sources: list[str], output: Path) -> list[Path]:
    """Name each source's files, without suffix, all of them differently."""
    from pcr_rt.annotate import free_place

    files, taken = [], {Path(s).resolve() for s in sources if _is_path(s)}
    for source in sources:
        stem, ending = (Path(source).stem, "-poses") if _is_path(source) else (_stem(source), "")
        place = free_place(output, stem, ending, ".mp4", taken)
        taken.add(place.resolve())
        files.append(place.with_suffix(""))
    return files


def _is_path(source: str) -> bool:
    return "://" not in source and os.path.exists(source)


def _announce(page: LivePage) -> None:
    """Print the page's address; on a terminal also as a QR code, if a phone could open it."""
    hint = " (for this machine only; --serve 0.0.0.0:8080 is for phones)" if page.is_local else ""
    typer.echo(f"Live page: {page.url}{hint}", err=True)
    if not page.is_local and sys.stderr.isatty():
        import segno

        segno.make(page.url, error="l").terminal(out=sys.stderr, compact=True, border=2)


def _stem(source: str) -> str:
    """Name the files of a camera, URL or pipeline."""
    if source.isdigit():
        return f"camera-{source}"
    scheme, _, rest = source.partition("://")
    plain = f"{scheme}-{rest.rpartition('@')[2]}" if rest else source
    return re.sub(r"[^A-Za-z0-9.]+", "-", plain).strip("-.")[:60]
