"""NVIDIA's own builder (TensorRT-RTX needs no GPU for it) takes every shipped file as it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest

from pcr_rt.models import WEIGHTS

trt = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)

FILES = sorted(path.name for path in WEIGHTS.glob("*.onnx"))
FOR_TENSORRT = [name for name in FILES if not name.endswith(".int8.onnx")]


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps errors; the builder takes one logger a process."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)


LOG = Log()


def parse(content: bytes) -> tuple[Any, Any, bool]:
    builder = trt.Builder(LOG)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, LOG)
    return builder, network, parser.parse(content)


def build(builder: Any, network: Any) -> Any:
    config = builder.create_builder_config()
    config.num_compute_capabilities = 2
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    config.set_compute_capability(trt.ComputeCapability.SM89, 1)
    images = network.get_input(0)
    size = [side if side > 0 else 416 for side in images.shape[1:]]
    profile = builder.create_optimization_profile()
    profile.set_shape(images.name, (1, *size), (4, *size), (16, *size))
    assert config.add_optimization_profile(profile) >= 0
    return builder.build_serialized_network(network, config)


@pytest.mark.parametrize("name", FOR_TENSORRT)
def test_shipped_files_are_parsed_and_built(name: str) -> None:
    LOG.errors.clear()
    content = (WEIGHTS / name).read_bytes()
    builder, network, parsed = parse(content)
    assert parsed, LOG.errors
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    kinds = Counter(layer.type for layer in layers)
    convolutions = [
        layer
        for layer in layers
        if layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
    ]
    half = "fp16" in name or "int8" in name
    wanted = trt.DataType.HALF if half else trt.DataType.FLOAT
    assert {layer.get_input(0).dtype for layer in convolutions} == {wanted}
    # The parser's quantisers are those of the file.
    nodes = Counter(node.op_type for node in onnx.load_from_string(content).graph.node)
    assert kinds[trt.LayerType.QUANTIZE] == nodes["QuantizeLinear"]
    assert kinds[trt.LayerType.DEQUANTIZE] == nodes["DequantizeLinear"]
    assert (nodes["QuantizeLinear"] > 0) == ("int8" in name)
    plan = build(builder, network)
    assert plan is not None, LOG.errors
    assert bytes(plan)[:4] == b"vtrt"


def test_half_a_file_is_no_network() -> None:
    content = (WEIGHTS / "pcr-lite.onnx").read_bytes()
    assert not parse(content[: len(content) // 2])[2]


def test_nothing_is_parsed_but_not_built(tmp_path: Path) -> None:
    builder, network, parsed = parse(b"")
    assert parsed
    assert network.num_outputs == 0
    assert builder.build_serialized_network(network, builder.create_builder_config()) is None
