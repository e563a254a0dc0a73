"""Find people: with the shipped RTMDet-nano, RTMDet, YOLOX and YOLO files, or a callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.engines import Engine
from pcr_rt.errors import ModelError
from pcr_rt.frames import frame_size
from pcr_rt.inference.boxes import Boxes, as_boxes, detect
from pcr_rt.inference.loading import make_engine
from pcr_rt.models import AnyPrecision, ModelSpec

__all__ = ["Detector", "DetectorLike", "Finder", "finder"]


class Detector:
    """A detector model behind one call: frames in, people's boxes and scores out.

    model: a shipped name, the path of an .onnx file, or an engine whose spec has kind ``boxes``.
    class_index: which of its classes is looked for, counted from 0; None: what its spec says, which
    is the first, a person, unless the file says otherwise.
    """

    def __init__(
        self,
        model: str | Path | Engine = "rtmdet-nano",
        *,
        spec: ModelSpec | None = None,
        class_index: int | None = None,
        device: str = "auto",
        precision: AnyPrecision = "auto",
        cache_dir: str | Path | None = None,
    ) -> None:
        if isinstance(model, (str, Path)):
            model = make_engine(
                model, spec=spec, device=device, precision=precision, cache_dir=cache_dir
            )
        if not model.spec.is_detector:
            raise ModelError(
                f"{model.spec.name!r} is a pose model (kind {model.spec.kind!r}), not a detector."
            )
        self.engine = model
        self.spec = model.spec
        self.class_index = model.spec.class_index if class_index is None else class_index

    def __call__(
        self, frames: Sequence[NDArray[np.uint8]], score_threshold: float = 0.3
    ) -> list[Boxes]:
        """Find the boxes of each frame (HxWx3 uint8 BGR), best first, at most 100 a frame.

        Raises InputError for a frame on a CUDA device.
        """
        return detect(self.engine, frames, score_threshold, self.class_index)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


DetectorLike = Detector | Callable[[NDArray[np.uint8]], Any]
Finder = Callable[[Sequence[Any], float], list[Boxes]]
"""Frames and a score threshold -> the boxes of each frame."""


def finder(detector: DetectorLike | None) -> Finder:
    """Turn a detector, a callable ``frame -> boxes``, or None (the whole frame) into a finder."""
    if isinstance(detector, Detector):
        return detector
    locate: Callable[[Any], Any] = detector or _whole_frame

    def find(frames: Sequence[Any], score_threshold: float) -> list[Boxes]:
        found = (as_boxes(locate(frame), frame_size(frame)) for frame in frames)
        return [(b[s >= score_threshold], s[s >= score_threshold]) for b, s in found]

    return find


def _whole_frame(frame: Any) -> list[list[float]]:
    return [[0, 0, *frame_size(frame)]]
