"""PoseEstimator: detect -> crop -> infer -> decode -> rescore -> suppress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.cuda_kernels import reference
from pcr_rt.detectors import Boxes, Detector, DetectorLike, as_boxes
from pcr_rt.engines import Engine
from pcr_rt.engines.choose import make_engine
from pcr_rt.ensemble import PoseNetwork, average_on_common_grid
from pcr_rt.errors import InputError
from pcr_rt.geometry import box_to_region, crop_transform, mirrored_crop
from pcr_rt.models import AnyPrecision, Decode, ModelSpec, PersonScore
from pcr_rt.poses import Poses

__all__ = ["PoseEstimator", "check_frame", "person_scores"]

ModelLike = str | Path | Engine
DEFAULT_MODEL = "pcr-tiny"
STAGES = ("detect", "crop", "infer", "decode", "suppress")


class PoseEstimator:
    """People's keypoints in frames.

    Parameters
    ----------
    model
        ``"auto"`` (pcr-tiny), a shipped name, the path of an .onnx file, an engine, or a list of
        these: an ensemble, whose heatmaps are averaged on the first model's grid.
    detector
        A shipped name, a path, a `Detector`, or a callable ``frame -> boxes`` ((N, 4) xyxy or
        (N, 5) with scores). None: the whole frame is one person's box.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. On a GPU with TensorRT and CuPy engines
        are built on first use, which takes minutes, and kept.
    precision
        Of the models: ``"fp16"`` takes the FP16 files of shipped ones. ``"auto"`` is FP32, which
        CPUs are fastest with; a file's own precision where a path is given.
    max_people
        Keep at most this many people of a frame, the surest ones. None: all.
    score_threshold
        Drop people whose score (box score x a mean of the keypoint scores, as the model's spec
        says) is lower.
    flip_test
        Average with the mirrored crop: more accurate, twice the work.
    decode
        ``"none"``, ``"quarter"`` or ``"dark"``; None: what the model's spec says.
    nms, oks_threshold
        OKS-NMS ``"hard"`` or ``"soft"`` of people who are more alike than the threshold, or None.
    cache_dir
        Where built TensorRT engines are kept; ``~/.cache/pcr-rt`` unless given.

    Raises ModelError for a model that cannot be used, InputError for an option that makes no
    sense. The estimator is thread-safe.
    """

    def __init__(
        self,
        model: ModelLike | Sequence[ModelLike] = "auto",
        *,
        detector: str | Path | DetectorLike | None = "rtmdet-nano",
        device: str = "auto",
        precision: AnyPrecision = "auto",
        max_people: int | None = None,
        score_threshold: float = 0.2,
        flip_test: bool = False,
        decode: Decode | None = None,
        nms: Literal["hard", "soft"] | None = "hard",
        oks_threshold: float = 0.9,
        cache_dir: str | Path | None = None,
    ) -> None:
        _check_option("nms", nms, ("hard", "soft", None))
        _check_option("decode", decode, ("none", "quarter", "dark", None))
        _check_option("precision", precision, ("auto", "fp32", "fp16", "int8"))
        if max_people is not None and max_people < 1:
            raise InputError(f"max_people is {max_people}; give a positive number or None.")
        given = [model] if isinstance(model, (str, Path, Engine)) else model
        if not given:
            raise InputError("model is an empty list: name at least one model.")
        self._networks = [PoseNetwork(_engine(m, device, precision, cache_dir)) for m in given]
        self.spec: ModelSpec = self._networks[0].spec
        if len(self._networks) > 1 and any(n.spec.kind != "heatmap" for n in self._networks):
            raise InputError("An ensemble averages heatmaps: all of its models must give heatmaps.")
        if flip_test and self.spec.kind != "heatmap":
            raise InputError(f"flip_test needs a heatmap model; {self.spec.name!r} is none.")
        self._detector = (
            Detector(detector, device=device, precision=precision, cache_dir=cache_dir)
            if isinstance(detector, (str, Path))
            else detector
        )
        self.max_people = max_people
        self.score_threshold = score_threshold
        self.flip_test = flip_test
        self.decode: Decode = decode or self.spec.decode
        self.nms = nms
        self.oks_threshold = oks_threshold
        self.cache_dir = cache_dir
        self._local = threading.local()

    def __call__(self, frame: NDArray[np.uint8], boxes: ArrayLike | None = None) -> Poses:
        """The people of one frame, HxWx3 uint8 BGR.

        boxes: (N, 4) xyxy in frame pixels, or (N, 5) with a score each; None: the detector looks
        for them. People keep the order of their boxes; the result's ``boxes`` tell who is who,
        since suppressed ones are left out.
        """
        return self.batch([frame], None if boxes is None else [boxes])[0]

    def batch(
        self,
        frames: Sequence[NDArray[np.uint8]],
        boxes: Sequence[ArrayLike | None] | None = None,
    ) -> list[Poses]:
        """The people of several frames of any sizes; all crops go through the network at once."""
        for frame in frames:
            check_frame(frame)
        if boxes is not None and len(boxes) != len(frames):
            raise InputError(f"boxes has {len(boxes)} entries for {len(frames)} frames.")
        self._local.timings = dict.fromkeys(STAGES, 0.0)
        with self._stage("detect"):
            found = self._find(frames, boxes)
        counts = [len(b) for b, _ in found]
        if not sum(counts):
            return [Poses.empty(_size(frame)) for frame in frames]
        frame_index = np.repeat(np.arange(len(frames)), counts)
        all_boxes = np.concatenate([b for b, _ in found])
        keypoints, keypoint_scores = self._keypoints(frames, frame_index, all_boxes)
        with self._stage("suppress"):
            box_scores = np.concatenate([s for _, s in found])
            scores = box_scores * person_scores(keypoint_scores, self.spec.person_score)
            return [
                self._select(frame, *(a[frame_index == i] for a in rows))
                for i, frame in enumerate(frames)
                for rows in [(keypoints, keypoint_scores, all_boxes, scores)]
            ]

    def warmup(self) -> None:
        """Run once on a blank frame, so that the first real one is not slowed down."""
        blank = np.zeros((480, 640, 3), dtype=np.uint8)
        self(blank)
        self(blank, boxes=[[160, 40, 480, 440]])

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds of each stage in this thread's last call."""
        return dict(getattr(self._local, "timings", {}))

    def close(self) -> None:
        """Give back the engines; the estimator cannot be called afterwards."""
        for network in self._networks:
            network.engine.close()
        if isinstance(self._detector, Detector):
            self._detector.close()

    def __enter__(self) -> PoseEstimator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._local.timings[name] += (time.perf_counter() - start) * 1e3

    def _find(
        self, frames: Sequence[NDArray[np.uint8]], boxes: Sequence[ArrayLike | None] | None
    ) -> list[Boxes]:
        """Boxes of each frame: the caller's where given, the detector's for the others."""
        given = list(boxes) if boxes is not None else [None] * len(frames)
        asked = [frame for frame, b in zip(frames, given, strict=True) if b is None]
        found = iter(self._detect(asked))
        return [
            next(found) if b is None else as_boxes(b, _size(frame))
            for frame, b in zip(frames, given, strict=True)
        ]

    def _detect(self, frames: list[NDArray[np.uint8]]) -> list[Boxes]:
        if isinstance(self._detector, Detector):
            return self._detector(frames, max(self.score_threshold, 0.01))
        locate: Callable[[NDArray[np.uint8]], Any] = self._detector or _whole_frame
        return [as_boxes(locate(frame), _size(frame)) for frame in frames]

    def _keypoints(
        self,
        frames: Sequence[NDArray[np.uint8]],
        frame_index: NDArray[np.intp],
        boxes: NDArray[np.float64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints (N, 17, 2) in frame pixels and their scores (N, 17)."""
        outputs = []
        for network in self._networks:
            spec = network.spec
            with self._stage("crop"):
                centre, region = box_to_region(
                    boxes, spec.input_size[0] / spec.input_size[1], spec.padding
                )
                crops = crop_transform(centre, region, spec.input_size, spec.transform)
                views = crops
                if self.flip_test:
                    mirrored = mirrored_crop(
                        crops, spec.input_size, network.heatmap_size(), spec.transform
                    )
                    views = np.concatenate([crops, mirrored])
                images = reference.crop_persons(
                    frames,
                    np.tile(frame_index, 1 + self.flip_test),
                    views,
                    spec.input_size,
                    spec.mean,
                    spec.std,
                    rgb=spec.colour == "rgb",
                )
            with self._stage("infer"):
                outputs.append((network, crops, network.engine.run(images)))
        with self._stage("decode"):
            if self.spec.kind == "simcc":
                network, crops, maps = outputs[0]
                return reference.decode_simcc(maps[0], maps[1], crops, split=self.spec.split)
            plain, flipped, to_frame = average_on_common_grid(outputs, self.flip_test)
            return reference.decode_heatmaps(
                plain, to_frame, method=self.decode, sigma=self.spec.sigma, mirrored=flipped
            )

    def _select(
        self,
        frame: NDArray[np.uint8],
        keypoints: NDArray[np.float32],
        keypoint_scores: NDArray[np.float32],
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> Poses:
        """The people of one frame that stay, in the order of their boxes."""
        keep = np.flatnonzero(scores >= self.score_threshold)
        if self.nms is not None and len(keep) > 1:
            areas = (boxes[keep, 2:] - boxes[keep, :2]).prod(1)
            chosen, rescored = reference.oks_nms(
                keypoints[keep],
                scores[keep],
                areas,
                method=self.nms,
                threshold=self.oks_threshold,
            )
            keep = keep[chosen]
            scores = scores.copy()
            scores[keep] = rescored
            keep = keep[scores[keep] >= self.score_threshold]
        if self.max_people is not None:
            keep = keep[np.argsort(-scores[keep], kind="stable")[: self.max_people]]
        keep = np.sort(keep)
        return Poses(
            keypoints=keypoints[keep],
            keypoint_scores=keypoint_scores[keep],
            boxes=boxes[keep].astype(np.float32),
            scores=scores[keep].astype(np.float32),
            image_size=_size(frame),
        )


def person_scores(keypoint_scores: NDArray[Any], rule: PersonScore) -> NDArray[np.float64]:
    """The factor (N,) on the box score, from keypoint scores (N, 17).

    ``mean>0.2``: mean of the scores above 0.2, 0 where none is; ``mean``; ``rms``: root of the mean
    square.
    """
    scores = np.asarray(keypoint_scores, dtype=np.float64).clip(0, 1)
    if rule == "rms":
        factor = np.sqrt(np.square(scores).mean(1))
    else:
        counted = scores > 0.2 if rule == "mean>0.2" else np.ones_like(scores, dtype=bool)
        factor = (scores * counted).sum(1) / counted.sum(1).clip(min=1)
    return np.asarray(factor, dtype=np.float64)


def check_frame(frame: Any) -> None:
    """Raise InputError unless ``frame`` is HxWx3 uint8 with at least one pixel."""
    if not isinstance(frame, np.ndarray):
        raise InputError(f"A frame must be a NumPy array, not {type(frame).__name__}.")
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        raise InputError(
            "The frame is grey: convert it with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)."
        )
    if frame.ndim == 3 and frame.shape[2] == 4:
        raise InputError(
            "The frame has four channels: convert it with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)."
        )
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise InputError(f"A frame has shape (height, width, 3), not {frame.shape}.")
    if frame.dtype != np.uint8:
        raise InputError(
            f"The frame's dtype is {frame.dtype}: give uint8 with grey levels 0 to 255."
        )
    if 0 in frame.shape:
        raise InputError(f"The frame is empty, its shape is {frame.shape}.")


def _engine(
    model: ModelLike, device: str, precision: AnyPrecision, cache_dir: str | Path | None
) -> Engine:
    if not isinstance(model, (str, Path)):
        return model
    name = DEFAULT_MODEL if model == "auto" else model
    return make_engine(name, device=device, precision=precision, cache_dir=cache_dir)


def _check_option(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; use one of {', '.join(map(repr, allowed))}.")


def _whole_frame(frame: NDArray[np.uint8]) -> list[list[float]]:
    return [[0, 0, frame.shape[1], frame.shape[0]]]


def _size(frame: NDArray[np.uint8]) -> tuple[int, int]:
    return frame.shape[1], frame.shape[0]
