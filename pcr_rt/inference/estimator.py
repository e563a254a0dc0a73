"""PoseEstimator: detect -> crop -> infer -> decode -> rescore -> suppress."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcr_rt.cuda_kernels import reference
from pcr_rt.engines import Engine
from pcr_rt.errors import InputError
from pcr_rt.frames import check_frame, frame_size
from pcr_rt.geometry import box_to_region, crop_transform, mirrored_crop
from pcr_rt.inference.boxes import Boxes, as_boxes
from pcr_rt.inference.detector import Detector, DetectorLike
from pcr_rt.inference.device import Scene, device_path
from pcr_rt.inference.loading import make_engine
from pcr_rt.inference.pose_network import PoseNetwork, average_on_common_grid
from pcr_rt.inference.selection import People, Selection, Suppressed, person_scores
from pcr_rt.models import AnyPrecision, Decode, ModelSpec
from pcr_rt.poses import Poses

__all__ = [
    "PoseEstimator",
    "check_frame",
    "check_options",
    "models_of",
    "person_scores",
]

ModelLike = str | Path | Engine
Frame = Any
"""HxWx3 uint8 BGR of NumPy or, where the models run on a CUDA device, of that; or NV12."""
STAGES = ("detect", "crop", "infer", "decode", "suppress")


class PoseEstimator:
    """People's keypoints in frames.

    Parameters
    ----------
    model
        ``"auto"`` (pcr-tiny, and on a GPU pcr-lite, which computes the same in plain convolutions),
        a shipped name, the path of an .onnx file, an engine, or a list of these: an ensemble, whose
        heatmaps are averaged on the first model's grid.
    detector
        A shipped name, a path, a `Detector`, or a callable ``frame -> boxes`` ((N, 4) xyxy or
        (N, 5) with scores). None: the whole frame is one person's box.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. On a GPU with TensorRT and CuPy engines
        are built on first use, which takes minutes, and kept.
    precision
        Of the models: ``"fp16"`` and ``"int8"`` take these files of shipped ones (INT8: of the pose
        models; the detector stays as it is). ``"auto"`` is FP32, which loses nothing, and FP16 on
        TensorRT; a file's own precision where a path is given.
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
        check_options(
            detector=detector,
            device=device,
            precision=precision,
            max_people=max_people,
            score_threshold=score_threshold,
            decode=decode,
            nms=nms,
            oks_threshold=oks_threshold,
        )
        self._networks = [
            PoseNetwork(_engine(m, device, precision, cache_dir)) for m in models_of(model)
        ]
        self.spec: ModelSpec = self._networks[0].spec
        if len(self._networks) > 1 and any(n.spec.kind != "heatmap" for n in self._networks):
            raise InputError("An ensemble averages heatmaps: all of its models must give heatmaps.")
        if flip_test and self.spec.kind != "heatmap":
            raise InputError(f"flip_test needs a heatmap model; {self.spec.name!r} is none.")
        # A detector loses more in INT8 than a pose model, and none is shipped.
        of_detector: AnyPrecision = "auto" if precision == "int8" else precision
        self._detector = (
            Detector(detector, device=device, precision=of_detector, cache_dir=cache_dir)
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
        self._device = device_path(self._networks, self._detector, flip_test=flip_test)
        self._local = threading.local()

    def __call__(self, frame: Frame, boxes: ArrayLike | None = None) -> Poses:
        """The people of one frame: HxWx3 uint8 BGR, or an `Nv12Frame`.

        Where the models run on a CUDA device, frames may lie there: CuPy, torch, PyCUDA, whatever
        has ``__cuda_array_interface__`` or DLPack.

        boxes: (N, 4) xyxy in frame pixels, or (N, 5) with a score each; None: the detector looks
        for them. People keep the order of their boxes; the result's ``boxes`` tell who is who,
        since suppressed ones are left out.
        """
        return self.batch([frame], None if boxes is None else [boxes])[0]

    def batch(
        self,
        frames: Sequence[Frame],
        boxes: Sequence[ArrayLike | None] | None = None,
    ) -> list[Poses]:
        """The people of several frames of any sizes; all crops go through the network at once."""
        for frame in frames:
            check_frame(frame, device=self._device is not None)
        if boxes is not None and len(boxes) != len(frames):
            raise InputError(f"boxes has {len(boxes)} entries for {len(frames)} frames.")
        self._local.timings = dict.fromkeys(STAGES, 0.0)
        if self._device is None:
            return self._batch(frames, boxes, None)
        with self._device.scene(frames) as scene:
            return self._batch(frames, boxes, scene)

    def _batch(
        self,
        frames: Sequence[Frame],
        boxes: Sequence[ArrayLike | None] | None,
        scene: Scene | None,
    ) -> list[Poses]:
        """scene: the frames on the device, where the networks run there."""
        with self._stage("detect"):
            found = self._find(frames, boxes, scene)
        counts = [len(b) for b, _ in found]
        if not sum(counts):
            return [Poses.empty(frame_size(frame)) for frame in frames]
        frame_index = np.repeat(np.arange(len(frames)), counts)
        all_boxes = np.concatenate([b for b, _ in found])
        select = Selection(
            self.score_threshold,
            self.max_people,
            self.nms,
            self.oks_threshold,
            self.spec.person_score,
        )
        suppressed: list[Suppressed | None] = [None] * len(frames)
        if scene is None:
            keypoints, scores = self._keypoints(frames, frame_index, all_boxes)
        else:
            box_scores = np.concatenate([s for _, s in found])
            keypoints, scores, suppressed = scene.people(
                counts, all_boxes, box_scores, self.decode, select
            )
            self._local.timings.update(scene.times)
        with self._stage("suppress"):
            return [
                select(
                    People(keypoints[frame_index == i], scores[frame_index == i], *found[i], kept),
                    frame_size(frame),
                )
                for i, (frame, kept) in enumerate(zip(frames, suppressed, strict=True))
            ]

    def warmup(self) -> None:
        """Run once on a blank frame, so that the first real one is not slowed down."""
        blank = np.zeros((480, 640, 3), dtype=np.uint8)
        self(blank)
        self(blank, boxes=[[160, 40, 480, 440]])

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds of this thread's last call by stage; those of a CUDA graph are ``infer``."""
        return dict(getattr(self._local, "timings", {}))

    def close(self) -> None:
        """Give back the engines; the estimator cannot be called afterwards."""
        if self._device is not None:
            self._device.close()
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
        self,
        frames: Sequence[Frame],
        boxes: Sequence[ArrayLike | None] | None,
        scene: Scene | None,
    ) -> list[Boxes]:
        """Boxes of each frame: the caller's where given, the detector's for the others."""
        given = list(boxes) if boxes is not None else [None] * len(frames)
        asked = [i for i, b in enumerate(given) if b is None]
        if scene is not None and scene.detects:
            found = iter(scene.detect(asked, self._box_threshold()))
        else:
            found = iter(self._detect([frames[i] for i in asked]))
        return [
            next(found) if b is None else as_boxes(b, frame_size(frame))
            for frame, b in zip(frames, given, strict=True)
        ]

    def _detect(self, frames: list[Frame]) -> list[Boxes]:
        if isinstance(self._detector, Detector):
            for frame in frames:
                check_frame(frame)
            return self._detector(frames, self._box_threshold())
        locate: Callable[[Frame], Any] = self._detector or _whole_frame
        return [as_boxes(locate(frame), frame_size(frame)) for frame in frames]

    def _box_threshold(self) -> float:
        return max(self.score_threshold, 0.01)

    def _keypoints(
        self,
        frames: Sequence[Frame],
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


def _engine(
    model: ModelLike, device: str, precision: AnyPrecision, cache_dir: str | Path | None
) -> Engine:
    if not isinstance(model, (str, Path)):
        return model
    return make_engine(model, device=device, precision=precision, cache_dir=cache_dir)


def _whole_frame(frame: Frame) -> list[list[float]]:
    return [[0, 0, *frame_size(frame)]]


CHOICES = {
    "nms": ("hard", "soft", None),
    "decode": ("none", "quarter", "dark", None),
    "precision": ("auto", "fp32", "fp16", "int8"),
}


def models_of(model: Any) -> Sequence[str | Path | Engine]:
    """The models of the option ``model``, which is one or a list of them.

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
    score_threshold: Any,
    oks_threshold: Any,
    **chosen: Any,
) -> None:
    """InputError for a value that makes no sense; chosen: those of `CHOICES`."""
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
    for name, value in {"score_threshold": score_threshold, "oks_threshold": oks_threshold}.items():
        if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
            raise InputError(f"{name} is {value!r}; give a number from 0 on.")
    if chosen["nms"] == "soft" and not oks_threshold:
        raise InputError("oks_threshold is 0; soft NMS needs a positive number.")
