"""``pcr-rt run``: keypoints of a picture, a folder, a video or a camera."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcr_rt.cli.options import (
    Detect,
    Device,
    FlipTest,
    Model,
    Threshold,
    make_estimator,
    progress_bar,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pcr_rt.estimator import PoseEstimator
    from pcr_rt.poses import Poses
    from pcr_rt.processing import Summary


def run(
    source: Annotated[str, typer.Argument(help="Picture, folder, video file or camera number.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the annotated files.")
    ] = Path("pcr-rt-output"),
    model: Model = ["auto"],  # noqa: B006
    detector: Detect = "rtmdet-nano",
    device: Device = "auto",
    score_threshold: Threshold = 0.2,
    flip_test: FlipTest = False,
    show: Annotated[bool, typer.Option(help="Show a camera or video in a window.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find people's keypoints and write annotated files and JSON lines."""
    with make_estimator(model, detector, device, score_threshold, flip_test) as estimator:
        summary = _process(estimator, source, output, show)
    if json_output:
        typer.echo(json.dumps(summary.to_dict()))
        return
    typer.echo(
        f"{summary.frames} {'frame' if summary.frames == 1 else 'frames'},"
        f" {summary.people} {'person' if summary.people == 1 else 'people'},"
        f" {summary.fps:.1f} frames a second"
    )
    for path in summary.outputs:
        typer.echo(path)


def _process(estimator: PoseEstimator, source: str, output: Path, show: bool) -> Summary:
    from pcr_rt.errors import InputError
    from pcr_rt.media import Camera, VideoReader, is_video, list_images
    from pcr_rt.processing import process_images, process_video

    path = Path(source)
    with progress_bar("Estimating") as progress:
        if source.isdigit() and not path.exists():
            with Camera(int(source)) as camera:
                return process_video(
                    estimator,
                    camera,
                    output,
                    f"camera-{source}",
                    fps=camera.fps,
                    progress=progress,
                    watch=_show if show else None,
                )
        if not path.exists():
            raise InputError(
                f"{source} does not exist: give a picture, a folder, a video or a camera number."
            )
        if path.is_dir():
            return process_images(estimator, list_images(path), output, progress=progress)
        if is_video(path):
            with VideoReader(path) as video:
                return process_video(
                    estimator,
                    video,
                    output,
                    f"{path.stem}-poses",
                    fps=video.fps,
                    progress=progress,
                    watch=_show if show else None,
                )
        return process_images(estimator, [path], output, progress=progress)


def _show(index: int, frame: NDArray[np.uint8], poses: Poses) -> bool:
    """Show a frame; q or Escape ends. InputError where OpenCV has no windows."""
    import cv2

    from pcr_rt.errors import InputError

    try:
        cv2.imshow("pcr-rt", frame)
        return cv2.waitKey(1) & 0xFF not in (27, ord("q"))
    except cv2.error:
        raise InputError(
            "The installed OpenCV has no windows: for --show swap it with 'pip uninstall"
            " opencv-python-headless' and 'pip install opencv-python'."
        ) from None
