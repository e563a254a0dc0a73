"""INT8 in the model file itself: convolutions between QuantizeLinear and DequantizeLinear.

Post-training: the ranges of activations are those of calibration images, weights have a scale a
channel, biases stay as they are. Convolutions that cost most are found by a sweep and stay in
floating point, as the prediction heads always do.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from pcr_rt.errors import ModelError
from pcr_rt.export.compare import fp32_spec
from pcr_rt.export.model_file import write_as_it_is
from pcr_rt.models import ModelSpec

__all__ = ["Form", "Method", "Sensitivity", "export_int8"]

Images = NDArray[np.float32]
Form = Literal["cpu", "gpu", "tensorrt8"]
Method = Literal["minmax", "entropy", "percentile"]

GROUPS = 24
MOST_ERROR = 0.07
PROBES = 12
MOST_IN_FP16 = 2.0
"""How much the error may grow, as a factor of ``most_error``, when the rest becomes FP16."""


@dataclass(frozen=True)
class Sensitivity:
    """What quantising one group of convolutions alone does to the outputs.

    convolutions: names of neighbours in the graph. error: root mean square of the outputs'
    difference from FP32, relative to that of the outputs.
    """

    convolutions: tuple[str, ...]
    error: float


def export_int8(
    source: Path,
    output: Path,
    images: Images,
    *,
    target: Form = "cpu",
    method: Method = "minmax",
    most_error: float = MOST_ERROR,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[ModelSpec, float]:
    """Write an FP32 model file in INT8; return its spec and the error of its outputs.

    images: (N, 3, H, W) inputs to calibrate on, some dozens of what the model will see. target:
    ``cpu``, unsigned activations, the form that ONNX Runtime is fastest with; ``gpu``, signed
    symmetric activations, FP16 for the rest and opset 19, for TensorRT 10 and later; ``tensorrt8``,
    the same with an FP32 rest and opset 17. The most sensitive groups stay in floating point until
    the outputs' error (see `Sensitivity`) on the first images is at most ``most_error``. report:
    takes the lines of the sweep's table. Raises ModelError for a file that is not FP32, if
    more than half of the convolutions would have to stay, and if the rest cannot be FP16; then
    nothing is written.
    """
    spec, name = fp32_spec(source), onnx.load(source).graph.input[0].name
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepared(source, Path(folder) / "prepared.onnx", target)
        ranges = _calibrate(prepared, images, name, method, signed=target != "cpu")
        model = onnx.load(prepared)
        convolutions, heads = _convolutions(model)
        probes = images[:PROBES]
        expected = _outputs(model, probes, name)

        def quantised(kept: Iterable[str]) -> tuple[onnx.ModelProto, float]:
            candidate = _quantised(model, ranges, kept, target)
            return candidate, _error(_outputs(candidate, probes, name), expected)

        sweep = []
        report("convolutions  error when they alone are INT8")
        for group in np.array_split(np.array(convolutions), min(GROUPS, len(convolutions))):
            names = tuple(map(str, group))
            others = [c for c in (*convolutions, *heads) if c not in names]
            sweep.append(Sensitivity(names, quantised(others)[1]))
            report(f"{len(names):12}  {sweep[-1].error:.4f}  from {names[0]}")
        kept = list(heads)
        sweep.sort(key=lambda sensitivity: -sensitivity.error)
        result, error = quantised(kept)
        while not error <= most_error and sweep:  # also if it is no number
            kept += sweep.pop(0).convolutions
            result, error = quantised(kept)
            report(f"{len(kept)} of {len(convolutions) + len(heads)} not in INT8: {error:.4f}")
        if not error <= most_error or len(kept) > (len(convolutions) + len(heads)) // 2:
            raise ModelError(
                f"{source} loses too much in INT8 on these images: calibrate on more of what the"
                " model will see, or keep FP16."
            )
        if target == "gpu":
            result = _half(result)
            error = _error(_outputs(result, probes, name, fused=False), expected)
            if not error <= MOST_IN_FP16 * most_error:
                raise ModelError(
                    f"{source} loses too much in FP16, in which the rest is (outputs differ by"
                    f" {error:.1%}): keep FP32, or take another --target."
                )
        spec = dataclasses.replace(spec, precision="int8", target=target)
        # Simplified it is already; once more would fold the quantised weights back to FP32.
        write_as_it_is(result, spec, output)
    return spec, error


def _prepared(source: Path, path: Path, target: Form) -> Path:
    """The model with folded constants and the opset of the target."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load(source)
    # Scales a channel came with opset 13, FP16 scales with 19.
    opset = 19 if target == "gpu" else 13
    if model.opset_import[0].version < opset:
        model = onnx.version_converter.convert_version(model, opset)
    onnx.save(model, path)
    quant_pre_process(path, path, skip_symbolic_shape=True)
    return path


def _calibrate(path: Path, images: Images, name: str, method: Method, signed: bool) -> Any:
    """Ranges of all activations around convolutions."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> dict[str, Images] | None:
            image = next(self.images, None)
            return None if image is None else {name: image[None]}

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    options = {"symmetric": signed}
    calibrator = create_calibrator(
        path,
        ["Conv", "ConvTranspose"],
        augmented_model_path=str(path.with_name("augmented.onnx")),
        calibrate_method=methods[method],
        extra_options=options,
    )
    calibrator.collect_data(Reader())
    return calibrator.compute_data()


def _convolutions(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    """Names of the convolutions in the graph's order, and of those that the outputs come from."""
    kinds = ("Conv", "ConvTranspose")
    makers = {output: node for node in model.graph.node for output in node.output}
    heads, open_ = set(), [output.name for output in model.graph.output]
    while open_:
        node = makers.pop(open_.pop(), None)
        if node is not None and node.op_type in kinds:
            heads.add(node.name)
        elif node is not None:
            open_ += node.input
    names = [node.name for node in model.graph.node if node.op_type in kinds]
    return [n for n in names if n not in heads], [n for n in names if n in heads]


def _quantised(
    model: onnx.ModelProto, ranges: Any, kept: Iterable[str], target: Form
) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    signed = target != "cpu"
    quantizer = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if signed else QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=list(kept),
        op_types_to_quantize=["Conv", "ConvTranspose"],
        extra_options={
            "ActivationSymmetric": signed,
            "WeightSymmetric": True,
            # TensorRT wants biases as they are and each reader of a tensor with a pair of its own;
            # version 8 quantises the weights itself.
            "QuantizeBias": not signed,
            "DedicatedQDQPair": signed,
            "AddQDQPairToWeight": target == "tensorrt8",
        },
    )
    quantizer.quantize_model()
    return _sorted(quantizer.model.model)


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with FP16 between its quantised convolutions; inputs and outputs stay FP32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=[])
    del half.graph.value_info[:]
    return _sorted(half)


def _sorted(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.onnx_model import OnnxModel

    OnnxModel(model).topological_sort()
    return model


def _outputs(
    model: onnx.ModelProto, images: Images, name: str, fused: bool = True
) -> list[NDArray[Any]]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not fused:  # with FP16 scales ONNX Runtime's fused convolutions compute something else
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    runs = [session.run(None, {name: image[None]}) for image in images]
    return [np.concatenate(column) for column in zip(*runs, strict=True)]


def _error(ours: list[NDArray[Any]], expected: list[NDArray[Any]]) -> float:
    off = sum(float(np.square(a - b).sum()) for a, b in zip(ours, expected, strict=True))
    return float(np.sqrt(off / sum(float(np.square(b).sum()) for b in expected)))
