"""PoseEstimator: detect, crop, infer, decode and suppress, on the host or on a CUDA device."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from pcr_rt.engines import Engine
from pcr_rt.errors import InputError
from pcr_rt.frames import frame_size
from pcr_rt.inference.boxes import as_boxes
from pcr_rt.inference.detector import Detector, DetectorLike, finder
from pcr_rt.inference.device import DeviceStages, device_stages
from pcr_rt.inference.host import HostStages
from pcr_rt.inference.inputs import as_frames
from pcr_rt.inference.loading import make_engine
from pcr_rt.inference.pose_network import PoseNetwork
from pcr_rt.inference.selection import People, Selection
from pcr_rt.models import AnyPrecision, Decode, ModelSpec
from pcr_rt.poses import Poses, ScoreKind
from pcr_rt.skeleton import Skeleton
from pcr_rt.spec_file import read_spec

__all__ = ["PoseEstimator", "check_options", "models_of"]

log = logging.getLogger(__name__)

ModelLike = str | Path | Engine
Frame = Any
"""HxWx3 uint8 BGR of NumPy or, if the models run on a CUDA device, of that; or NV12."""
STAGES = ("detect", "crop", "infer", "decode", "suppress")
LEAST_BOX_SCORE = 0.01
SCORE_THRESHOLD: dict[ScoreKind, float] = {"probability": 0.5, "raw": 0.14}
"""Who is shown unless told otherwise; both were chosen for the best F1 on labelled images."""
"""Boxes below it are not looked at, whatever the score threshold."""


class PoseEstimator:
    """Find people's keypoints in frames.

    Parameters
    ----------
    model
        ``"auto"`` (pcr-tiny, and on a GPU pcr-lite, which computes the same in plain convolutions),
        a shipped name, the path of an .onnx file, an engine, or a list of these: an ensemble, whose
        heatmaps are averaged on the first model's grid.
    detector
        A shipped name, a path, a `Detector`, or a callable ``frame -> boxes`` ((N, 4) xyxy or
        (N, 5) with scores). None: the whole frame is one person's bounding box.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. On a GPU with TensorRT and CuPy engines
        are built on first use, which takes minutes, and kept.
    precision
        Of the models: ``"fp16"`` and ``"int8"`` take these files of shipped ones (INT8: of the pose
        models; the detector stays as it is). ``"auto"`` is FP32, which loses nothing, and FP16 on
        TensorRT; a file's own precision if a path is given.
    max_people
        Keep at most this many people of a frame, the surest ones. None: all.
    box_threshold
        Look only at boxes to which the detector gives this score or more; boxes of your own count
        as they are, with score 1 unless you give one.
    score_threshold
        Drop people whose score is lower. None: 0.5, the probability that there is a person placed
        within OKS 0.5; 0.14 if scores are raw (box score x a mean of the keypoint scores).
    calibrated
        False: raw scores even if the model has a calibration, which makes them probabilities.
    flip_test
        Average with the mirrored crop: more accurate, twice the work.
    decode
        ``"none"``, ``"quarter"`` or ``"dark"``; None: what the model's spec says.
    nms, oks_threshold
        OKS-NMS ``"hard"`` or ``"soft"`` of people who are more alike than the threshold, or None.
    skeleton
        A `Skeleton`, a shipped one's name, or the path of its .toml file: what the models'
        keypoints are. None: what their files say; one that says nothing and has 17 is of COCO's.
    detector_class
        Which of the detector file's classes is looked for, counted from 0; None: what the file
        says, else its first, a person. Others are for animals and things.
    spec
        How to read the one model, a path, in place of what its file says: a `ModelSpec`, or the
        path of a JSON or TOML file of its fields.
    cache_dir
        The folder of built TensorRT engines; ``~/.cache/pcr-rt`` unless given.

    Raises
    ------
    ModelError
        For a model that cannot be used.
    InputError
        For an option that makes no sense.

    Notes
    -----
    The estimator is thread-safe.
    """

    def __init__(
        self,
        model: ModelLike | Sequence[ModelLike] = "auto",
        *,
        detector: str | Path | DetectorLike | None = "rtmdet-nano",
        device: str = "auto",
        precision: AnyPrecision = "auto",
        max_people: int | None = None,
        box_threshold: float = 0.3,
        score_threshold: float | None = None,
        calibrated: bool = True,
        flip_test: bool = False,
        decode: Decode | None = None,
        nms: Literal["hard", "soft"] | None = "hard",
        oks_threshold: float = 0.6,
        skeleton: Skeleton | str | Path | None = None,
        detector_class: int | None = None,
        spec: ModelSpec | str | Path | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        check_options(
            detector=detector,
            device=device,
            precision=precision,
            max_people=max_people,
            thresholds={
                "box_threshold": box_threshold,
                "score_threshold": 0 if score_threshold is None else score_threshold,
                "oks_threshold": oks_threshold,
            },
            decode=decode,
            nms=nms,
        )
        if skeleton is not None and not isinstance(skeleton, Skeleton):
            skeleton = Skeleton.load(skeleton)
        models = models_of(model)
        if isinstance(spec, (str, Path)):
            spec = read_spec(Path(spec))
        if spec is not None and (len(models) > 1 or not isinstance(models[0], (str, Path))):
            raise InputError("A spec is of one model file: give one path as the model.")
        self._networks = [
            PoseNetwork(_engine(m, spec, device, precision, cache_dir, skeleton), skeleton)
            for m in models
        ]
        self.spec: ModelSpec = self._networks[0].spec
        for other in self._networks[1:]:
            if other.spec.skeleton != self.spec.skeleton:
                raise InputError(
                    "An ensemble needs one skeleton:"
                    f" {self.spec.name!r} finds {len(self.spec.skeleton)} keypoints"
                    f" ({self.spec.skeleton.name}), {other.spec.name!r}"
                    f" {len(other.spec.skeleton)} ({other.spec.skeleton.name})."
                )
        if len(self._networks) > 1 and any(n.spec.kind != "heatmap" for n in self._networks):
            raise InputError("An ensemble averages heatmaps: all of its models must give heatmaps.")
        if flip_test and self.spec.kind != "heatmap":
            raise InputError(f"flip_test needs a heatmap model; {self.spec.name!r} is none.")
        if flip_test:
            _ = self.spec.skeleton.flip  # raises if nothing is known of mirror images
        # A detector loses more in INT8 than a pose model, and none is shipped.
        of_detector: AnyPrecision = "auto" if precision == "int8" else precision
        self._detector = (
            Detector(
                detector,
                class_index=detector_class,
                device=device,
                precision=of_detector,
                cache_dir=cache_dir,
            )
            if isinstance(detector, (str, Path))
            else detector
        )
        if detector == "rtmdet-nano" and self.spec.skeleton.category != "person":
            log.warning(
                "%s finds the keypoints of a %s, but rtmdet-nano finds people: for other boxes use"
                " detector=None (--detector none, the whole image) or another detector",
                self.spec.name,
                self.spec.skeleton.category,
            )
        self._flip_test = flip_test
        self._calibration = self.spec.calibration if calibrated else None
        self.max_people = max_people
        self.box_threshold = box_threshold
        self.score_threshold = (
            SCORE_THRESHOLD[self.score_kind] if score_threshold is None else score_threshold
        )
        self.decode: Decode = decode or self.spec.decode
        self.nms = nms
        self.oks_threshold = oks_threshold
        self.cache_dir = cache_dir
        self.stage_events = False
        self._stages: DeviceStages | HostStages = device_stages(
            self._networks, self._detector, flip_test=flip_test
        ) or HostStages(self._networks, finder(self._detector), flip_test=flip_test)
        self._local = threading.local()

    def __call__(self, frame: Frame, boxes: ArrayLike | None = None) -> Poses:
        """Find the people of one frame: HxWx3 uint8 BGR, an `Nv12Frame`, a PIL image or a path.

        If the models run on a CUDA device, frames may lie there: CuPy, torch, PyCUDA, whatever has
        ``__cuda_array_interface__`` or DLPack.

        boxes: (N, 4) xyxy in frame pixels, or (N, 5) with a score of 0 to 1 each, or
        ``supervision.Detections``, of which those named otherwise than ``person`` are left out;
        None: the detector looks for them. People keep the order of their boxes; the result's
        ``boxes`` tell who is who, since suppressed ones are left out. Raises InputError for a frame
        or boxes that are not as said here.
        """
        return self.batch([frame], None if boxes is None else [boxes])[0]

    def batch(
        self,
        frames: Sequence[Frame],
        boxes: Sequence[ArrayLike | None] | None = None,
    ) -> list[Poses]:
        """Find the people of several frames of any sizes; all crops go through the network at once.

        Frames and errors are those of a single call.
        """
        frames = as_frames(frames)
        with self._stages.scene(frames, events=self.stage_events) as scene:
            if boxes is not None and len(boxes) != len(frames):
                raise InputError(f"boxes has {len(boxes)} entries for {len(frames)} frames.")
            timings = self._local.timings = dict.fromkeys(STAGES, 0.0)
            start = time.perf_counter()
            sizes = [frame_size(frame) for frame in frames]
            given = list(boxes) if boxes is not None else [None] * len(frames)
            asked = [i for i, b in enumerate(given) if b is None]
            threshold = max(self.box_threshold, LEAST_BOX_SCORE)
            detected = iter(scene.detect(asked, threshold) if asked else [])
            found = [
                next(detected) if b is None else as_boxes(b, size)
                for b, size in zip(given, sizes, strict=True)
            ]
            timings["detect"] = _milliseconds_since(start)
            counts = [len(b) for b, _ in found]
            if not sum(counts):
                return [Poses.empty(size, self.score_kind, self.spec.skeleton) for size in sizes]
            select = Selection(
                self.score_threshold,
                self.max_people,
                self.nms,
                self.oks_threshold,
                self.spec.person_score,
                self._calibration,
                self.spec.skeleton,
            )
            everybody = found[0]
            if len(found) > 1:
                all_boxes, box_scores = zip(*found, strict=True)
                everybody = np.concatenate(all_boxes), np.concatenate(box_scores)
            keypoints, scores, suppressed = scene.people(counts, *everybody, self.decode, select)
            timings.update(scene.times)
            start = time.perf_counter()
            results, row = [], 0
            for count, of_frame, kept, size in zip(counts, found, suppressed, sizes, strict=True):
                rows = slice(row, row + count)
                results.append(select(People(keypoints[rows], scores[rows], *of_frame, kept), size))
                row += count
            timings["suppress"] += _milliseconds_since(start)
            return results

    def warmup(self, max_people: int = 8) -> None:
        """Run on a blank frame, so that the first real ones are not slowed down.

        On a CUDA device that makes this thread's buffers and graphs for up to ``max_people`` people
        of a frame. Raises InputError for fewer than one.
        """
        if max_people < 1:
            raise InputError(f"max_people is {max_people}; give a positive whole number.")
        blank = np.zeros((480, 640, 3), dtype=np.uint8)
        for people in self._stages.rehearsal(max_people):
            self(blank)
            self(blank, boxes=[[160, 40, 480, 440]] * people)

    @property
    def score_kind(self) -> ScoreKind:
        """Tell whether the scores of people and keypoints are probabilities or raw."""
        return "raw" if self._calibration is None else "probability"

    @property
    def flip_test(self) -> bool:
        """Tell whether the mirrored crop is averaged in, which is settled when it is made."""
        return self._flip_test

    @property
    def timings(self) -> dict[str, float]:
        """Give the milliseconds of this thread's last call by stage.

        On a CUDA device all that comes after ``detect`` and before the people are chosen is
        ``infer``, by the host's clock. With ``stage_events`` set, kernels that are launched one by
        one, not as a graph, are told apart by CUDA events.
        """
        return dict(getattr(self._local, "timings", {}))

    def close(self) -> None:
        """Give back the engines; the estimator cannot be called afterwards."""
        self._stages.close()
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


def _milliseconds_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


def _engine(
    model: ModelLike,
    spec: ModelSpec | None,
    device: str,
    precision: AnyPrecision,
    cache_dir: str | Path | None,
    skeleton: Skeleton | None,
) -> Engine:
    if not isinstance(model, (str, Path)):
        return model
    return make_engine(
        model,
        spec=spec,
        skeleton=skeleton,
        device=device,
        precision=precision,
        cache_dir=cache_dir,
    )


CHOICES = {
    "nms": ("hard", "soft", None),
    "decode": ("none", "quarter", "dark", None),
    "precision": ("auto", "fp32", "fp16", "int8"),
}


def models_of(model: Any) -> Sequence[str | Path | Engine]:
    """List the models of the option ``model``, which is one or a list of them.

    Raises InputError for an empty list and for what is no model.
    """
    models = model if isinstance(model, (list, tuple)) else [model]
    if not models:
        raise InputError("model is an empty list: name at least one model.")
    for one in models:
        if not isinstance(one, (str, Path, Engine)):
            raise InputError(f"model is {one!r}; give a shipped name, a path or an engine.")
    return models


def check_options(
    *,
    detector: Any,
    device: Any,
    max_people: Any,
    thresholds: dict[str, Any],
    **chosen: Any,
) -> None:
    """Raise InputError for a value that makes no sense; chosen: those of `CHOICES`."""
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            allowed = ", ".join(map(repr, CHOICES[name]))
            raise InputError(f"{name} is {value!r}; use one of {allowed}.")
    if not isinstance(device, str):
        raise InputError(f"device is {device!r}; give 'auto', 'cpu', 'cuda' or such as 'cuda:1'.")
    if not (detector is None or isinstance(detector, (str, Path)) or callable(detector)):
        raise InputError(f"detector is {detector!r}; give a name, a path, a callable or None.")
    if max_people is not None and not (isinstance(max_people, Integral) and int(max_people) > 0):
        raise InputError(f"max_people is {max_people!r}; give a positive whole number or None.")
    for name, value in thresholds.items():
        if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
            raise InputError(f"{name} is {value!r}; give a number from 0 on.")
    if chosen["nms"] == "soft" and not thresholds["oks_threshold"]:
        raise InputError("oks_threshold is 0; soft NMS needs a positive number.")
