"""What a model file says of itself, and where the shipped models lie."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pcr_rt.calibration import Calibration
from pcr_rt.errors import ModelError
from pcr_rt.geometry import Size, Transform
from pcr_rt.layouts import IMAGENET_MEAN, IMAGENET_STD, LAYOUTS, Shapes, is_one_stage_pose, ranks_of
from pcr_rt.skeleton import COCO17, Skeleton, shipped_skeletons

__all__ = [
    "DEFAULT_MODEL",
    "METADATA_KEY",
    "ModelSpec",
    "model_path",
    "recognise",
    "shipped_models",
]

log = logging.getLogger(__name__)

METADATA_KEY = "pcr_rt"
FORMAT = 1

Kind = Literal["heatmap", "simcc", "boxes"]
PersonScore = Literal["mean>0.2", "mean", "rms"]
Decode = Literal["none", "quarter", "dark"]
Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["any", "cpu", "gpu", "tensorrt8"]
AnyPrecision = Literal["auto", "fp32", "fp16", "int8"]

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL, GPU_MODEL = "pcr-tiny", "pcr-lite"

NUMBERS: dict[str, tuple[int | None, float, float]] = {
    "input_size": (2, 1, 8192),
    "mean": (3, -1e6, 1e6),
    "std": (3, 1e-6, 1e6),
    "padding": (None, 0.1, 10),
    "sigma": (None, 0.01, 64),
    "split": (None, 0.1, 64),
    "fill": (None, -1e6, 1e6),
}
"""How many numbers a field of a spec has, None for a bare one, and between which two they lie."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class ModelSpec:
    """How to feed a model and how to read it; stored as JSON in the ONNX metadata.

    kind: ``heatmap`` (N, K, h, w), ``simcc`` (two outputs, (N, K, W split), (N, K, H split)) or
    ``boxes`` in one of the `LAYOUTS`. skeleton: the K keypoints of a pose
    model. class_index: which of a detector's classes is looked for.
    input_size: (w, h). mean, std: grey levels in the order of ``colour``.
    transform, padding: the crop (see ``pcr_rt.geometry``). decode,
    sigma: how heatmaps are read. person_score: which function of the keypoint scores multiplies
    the box score. fill: the grey level around a letterboxed frame. any_aspect: a detector finds the
    same people if that grey is left out of its input. precision: of the weights.
    target: what an INT8 file's form of quantisation is for.
    calibration: from raw scores to probabilities; None: the model's scores are raw.
    provenance: free facts for the model card (data hashes, recipe, AP, licences).
    """

    name: str
    kind: Kind
    input_size: Size
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    colour: Literal["rgb", "bgr"] = "rgb"
    transform: Transform = "udp"
    padding: float = 1.25
    decode: Decode = "dark"
    sigma: float = 2.0
    person_score: PersonScore = "rms"
    split: float = 2.0
    layout: str = "rtmdet"
    class_index: int = 0
    fill: float = 114.0
    any_aspect: bool = False
    precision: Precision = "fp32"
    target: Target = "any"
    calibration: Calibration | None = None
    skeleton: Skeleton = COCO17
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        hints = get_type_hints(ModelSpec).items()
        choices = {key: get_args(hint) for key, hint in hints if get_origin(hint) is Literal}
        for key, allowed in {**choices, "layout": tuple(LAYOUTS)}.items():
            value = getattr(self, key)
            if not isinstance(value, str) or value not in allowed:
                raise ModelError(
                    f"The model's spec says {key} = {repr(value)[:40]}; allowed are"
                    f" {', '.join(allowed)}."
                )
        for key, (count, low, high) in NUMBERS.items():
            value = getattr(self, key)
            numbers = [value] if count is None else value
            right = isinstance(numbers, list | tuple) and len(numbers) == (count or 1)
            if not (right and all(_is_number(n) and low <= n <= high for n in numbers)):
                what = "a number" if count is None else f"{count} numbers"
                raise ModelError(
                    f"The model's spec says {key} = {repr(value)[:40]}: give {what} of {low:g} to"
                    f" {high:g}."
                )
        if not all(isinstance(side, int) for side in self.input_size):
            raise ModelError("The model's spec needs whole numbers as input_size.")
        if not isinstance(self.any_aspect, bool):
            raise ModelError("The model's spec says any_aspect: give true or false.")
        if not isinstance(self.name, str) or not isinstance(self.provenance, Mapping):
            raise ModelError("The model's spec needs a name, and provenance as a table.")

    @property
    def is_detector(self) -> bool:
        """Tell whether the model finds people rather than keypoints."""
        return self.kind == "boxes"

    def to_json(self) -> str:
        """Give the spec as the JSON that goes into the model file."""
        table = {"format": FORMAT, **dataclasses.asdict(self)}
        if self.is_detector:
            del table["skeleton"]
        return json.dumps(table, sort_keys=True)

    def with_skeleton(self, skeleton: Skeleton) -> ModelSpec:
        """Give the same spec with another skeleton of as many keypoints, or raise ModelError."""
        if len(skeleton) != len(self.skeleton):
            raise ModelError(
                f"The model {self.name!r} finds {len(self.skeleton)} keypoints"
                f" ({self.skeleton.name}), the skeleton {skeleton.name!r} has {len(skeleton)}."
            )
        return dataclasses.replace(self, skeleton=skeleton)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read the spec that `to_json` wrote; a pose model's without skeleton is of coco17.

        Raises ModelError for anything else.
        """
        try:
            table = dict(json.loads(text))
            version = table.pop("format", None)
            if version != FORMAT:
                raise ModelError(
                    f"The model's spec has format {repr(version)[:40]}, this version of PCR-RT"
                    f" reads {FORMAT}: export the model again or update PCR-RT."
                )
            for key in ("input_size", "mean", "std"):
                if key in table:
                    table[key] = tuple(table[key])
            if table.get("calibration") is not None:
                table["calibration"] = Calibration.from_table(table["calibration"])
            if "skeleton" in table:
                table["skeleton"] = Skeleton.from_table(table["skeleton"], "the model's spec")
            return cls(**table)
        except (TypeError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"The model's spec cannot be read: {reason}.") from None

    def check_outputs(self, shapes: Shapes) -> None:
        """Raise ModelError if output shapes contradict the spec; open sizes are not ints."""
        ranks, keypoints = ranks_of(shapes), len(self.skeleton)
        joints = [shape[1] if len(shape) > 1 else None for shape in shapes]
        last: list[Any] = [shape[-1] if shape else None for shape in shapes]
        if self.kind == "heatmap":
            right = ranks[:1] == [4] and (joints[0] == keypoints or not _known(joints[0]))
        elif self.kind == "simcc":
            right = ranks == [3, 3] and all(j == keypoints or not _known(j) for j in joints)
            for axis in (0, 1):
                length = round(self.input_size[axis] * self.split)
                right = right and (last[axis] == length or not _known(last[axis]))
        else:
            right = LAYOUTS[self.layout].fits(shapes)
        if not right:
            of = "" if self.is_detector else f", {keypoints} keypoints of {self.skeleton.name}"
            raise ModelError(
                f"The outputs {[tuple(s) for s in shapes]} of model {self.name!r} contradict its"
                f" spec (kind {self.kind!r}{of}): give the ModelSpec that fits the file."
            )


def _known(size: Any) -> bool:
    return isinstance(size, int)


def recognise(
    name: str,
    input_shape: Sequence[Any],
    outputs: Shapes,
    skeleton: Skeleton | None = None,
    task: str = "detect",
) -> ModelSpec:
    """Tell the spec of a file without metadata by its shapes; ModelError if nothing fits.

    Known are RTMPose-like SimCC models, plain heatmap models (read as PP-TinyPose: ``msra``, DARK),
    YOLOX and YOLOv8 to YOLO11, RTMDet and YOLOX with their NMS inside, and RTMDet raw heads.
    skeleton: of a pose model; None: coco17 if the file has 17 keypoints. task: what files of
    Ultralytics say that they are for. Sizes that the file leaves open become 640x640 for detectors;
    a pose model with an open size needs a ModelSpec.
    """
    fixed = len(input_shape) == 4 and all(_known(side) for side in input_shape[2:])
    height, width = input_shape[2:] if fixed else (640, 640)
    size: Size = (width, height)
    ranks = ranks_of(outputs)
    if fixed and ranks == [3, 3] and outputs[0][1] == outputs[1][1] and _known(outputs[0][1]):
        split = outputs[0][2] / width if _known(outputs[0][2]) else 2.0
        return ModelSpec(
            name,
            "simcc",
            size,
            transform="msra",
            split=split,
            person_score="mean>0.2",
            skeleton=_skeleton(name, outputs[0][1], skeleton),
        )
    if fixed and ranks == [4] and _known(outputs[0][1]):
        rows = outputs[0][2]
        sigma = rows / 32 if _known(rows) else height / 128
        return ModelSpec(
            name,
            "heatmap",
            size,
            transform="msra",
            sigma=sigma,
            person_score="mean>0.2",
            skeleton=_skeleton(name, outputs[0][1], skeleton),
        )
    if task == "pose" or is_one_stage_pose(outputs):
        raise ModelError(
            f"{name} is a one-stage pose model (YOLO-pose, RTMO), which finds boxes and keypoints"
            " at once; PCR-RT finds keypoints in crops: give a top-down pose model and a detector."
        )
    if task != "detect":
        raise ModelError(
            f"{name} is a YOLO model for the task {task!r}, of which no people's boxes can be read:"
            " give one for 'detect'."
        )
    for key, layout in LAYOUTS.items():
        if layout.recognised(outputs):
            mean, std = layout.mean, layout.std
            if key == "dets":  # RTMDet and YOLOX look the same after their NMS
                if "yolox" in name.lower():
                    mean, std = LAYOUTS["yolox"].mean, LAYOUTS["yolox"].std
                grey = "0 to 255" if std == (1, 1, 1) else "normalised as RTMDet's"
                log.warning(
                    "%s does not say which grey levels it takes: by its name they are %s; a"
                    " ModelSpec says otherwise",
                    name,
                    grey,
                )
            return ModelSpec(name, "boxes", size, mean, std, colour=layout.colour, layout=key)
    raise ModelError(
        f"{name} has no PCR-RT metadata and its outputs {[tuple(s) for s in outputs]} are of no"
        " known kind: pass a ModelSpec that says how to read it."
    )


def _skeleton(name: str, keypoints: int, given: Skeleton | None) -> Skeleton:
    """The skeleton of a file that does not name its own."""
    if given is not None:
        if len(given) != keypoints:
            raise ModelError(
                f"The model {name!r} finds {keypoints} keypoints, the skeleton {given.name!r} has"
                f" {len(given)}."
            )
        return given
    if keypoints == len(COCO17):
        log.info("%s does not name its 17 keypoints: they are read as COCO's (coco17)", name)
        return COCO17
    fitting = [s for s in shipped_skeletons() if len(Skeleton.load(s)) == keypoints]
    shipped = f"shipped is {' and '.join(fitting)}" if fitting else "none of that size is shipped"
    raise ModelError(
        f"The model {name!r} finds {keypoints} keypoints and does not name them: give its skeleton"
        f" with --skeleton or PoseEstimator(skeleton=), a name or a .toml file ({shipped})."
    )


def shipped_models() -> list[str]:
    """List the names of the models that are in the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.onnx") if "." not in path.stem)


CHECKPOINTS = (".pt", ".pth", ".ckpt")


def model_path(model: str | Path, precision: AnyPrecision = "auto", *, gpu: bool = False) -> Path:
    """Find the file of a model, given by its shipped name, by ``auto`` or by a path.

    ``auto`` is pcr-tiny, and with gpu pcr-lite: the same function in layers that suit each.
    precision: which of a shipped model's files: ``name.onnx`` (FP32, the default),
    ``name.fp16.onnx``, or for INT8 ``name.int8.onnx`` and, gpu, ``name.int8-gpu.onnx``.
    Raises ModelError if there is no such file.
    """
    if model == "auto":
        model = GPU_MODEL if gpu else DEFAULT_MODEL
    path = Path(model)
    if not path.suffix:
        if not (WEIGHTS / f"{model}.onnx").is_file():
            raise ModelError(
                f"There is no model {str(model)!r}; shipped are {', '.join(shipped_models())}, or"
                " give the path of an .onnx file."
            )
        kind = "int8-gpu" if gpu and precision == "int8" else precision
        suffix = "onnx" if kind in ("auto", "fp32") else f"{kind}.onnx"
        path = WEIGHTS / f"{model}.{suffix}"
        if not path.is_file():
            raise ModelError(
                f"The model {str(model)!r} is not shipped in {precision}: use precision 'auto'."
            )
    if not path.is_file():
        raise ModelError(f"The model file {path} does not exist.")
    if path.suffix in CHECKPOINTS:
        raise ModelError(
            f"{path} is a training checkpoint: 'pcr-rt export {path} {path.with_suffix('.onnx')}'"
            " makes the file that can be run."
        )
    if path.suffix != ".onnx":
        raise ModelError(f"{path} is not an .onnx file, the only kind that can be loaded.")
    return path
