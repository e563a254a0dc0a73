"""The demo: the sample clip annotated, and a contact sheet of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcr_rt.drawing import contact_sheet
from pcr_rt.estimator import PoseEstimator
from pcr_rt.media import VideoReader, write_image
from pcr_rt.processing import Progress, Summary, process_stream
from pcr_rt.streaming.results import Result

__all__ = ["SAMPLE_CLIP", "run_demo"]

SAMPLE_CLIP = Path(__file__).parent / "samples" / "walk.mp4"
SHEET_COLUMNS = 3
CELL = (480, 270)


def run_demo(
    estimator: PoseEstimator,
    output: Path,
    *,
    progress: Progress = lambda done, total: None,
    sheet_frames: int = 9,
) -> Summary:
    """Annotate the sample clip into ``output``: demo.mp4, demo.jsonl and demo.png."""
    sheet: list[NDArray[np.uint8]] = []
    captions: list[str] = []

    with VideoReader(SAMPLE_CLIP) as video:
        every = max((video.frames or 1) // sheet_frames, 1)

    def watch(result: Result) -> bool:
        index = result.poses.frame_index or 0
        if index % every == every // 2 and len(sheet) < sheet_frames:
            sheet.append(result.annotated())
            people = len(result.poses)
            captions.append(f"frame {index}: {people} {'person' if people == 1 else 'people'}")
        return True

    summary = process_stream(
        estimator, SAMPLE_CLIP, output / "demo", progress=progress, watch=watch
    )
    if sheet:  # Ctrl-C may have come before the first frame
        path = output / "demo.png"
        write_image(path, contact_sheet(sheet, SHEET_COLUMNS, CELL, captions))
        summary.outputs.append(path)
    return summary
