"""The real builder of TensorRT-RTX, which parses and builds without a GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorrt_rtx", reason='the real builder comes with pip install ".[rtx]"')
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

from pcr_rt import models
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.api import Api, load
from pcr_rt.engines.tensorrt.builder import BuildOptions, Built, build_plan
from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import ModelSpec
from toys import PLAIN, brightness_model, write

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
PAPER = ModelSpec("paper", "heatmap", (96, 128))
BOTH = BuildOptions(targets=("sm86", "sm89"))
# The CPU's INT8 files have unsigned activations, which TensorRT does not know.
ARTEFACTS = sorted(
    path for path in models.WEIGHTS.glob("*.onnx") if not path.name.endswith(".int8.onnx")
)


@pytest.fixture(scope="module")
def api() -> Api:
    return load("TensorRT-RTX")


def parsed(api: Api, path: Path) -> Any:
    """The network as TensorRT sees it, without our code."""
    from pcr_rt.engines.tensorrt.api import logger

    trt = api.module
    builder = trt.Builder(logger(api))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger(api))
    assert parser.parse(path.read_bytes())
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    kinds = {layer.type.name for layer in layers}
    types = {
        layer.get_input(0).dtype.name
        for layer in layers
        if layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
    }
    return types, kinds


@pytest.mark.slow
@pytest.mark.parametrize("path", ARTEFACTS, ids=lambda path: path.name)
def test_every_shipped_artefact_builds_in_the_precision_of_its_name(api: Api, path: Path) -> None:
    spec = OnnxRuntimeEngine(path, device="cpu").spec
    built = build_plan(api, path, spec, BOTH)
    assert built.plan[:4] == b"vtrt"
    # Weights are in the plan, in their precision.
    assert len(built.plan) > path.stat().st_size * 0.9
    types, kinds = parsed(api, path)
    if ".fp16" in path.name:
        assert types == {"HALF"}
    elif ".int8" in path.name:
        assert {"QUANTIZE", "DEQUANTIZE"} <= kinds
        assert types == {"HALF"}
    else:
        assert types == {"FLOAT"}
        assert "QUANTIZE" not in kinds


@pytest.fixture(scope="module", params=["pcr-r50", "pcr-w32"])
def paper_network(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network of the paper with random weights in FP32, FP16 and INT8, as files."""
    torch = pytest.importorskip("torch")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantise
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from pcr_rt.export.onnx_export import export_onnx
    from pcr_rt.training.networks.registry import build

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    files = {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "int8")}
    network = build(request.param).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 0.3)  # else random weights let maps grow to 1e4
    export_onnx(network, PAPER, files["fp32"])
    half = convert_float_to_float16(onnx.load(files["fp32"]), keep_io_types=True)
    onnx.save(half, files["fp16"])

    class Noise(CalibrationDataReader):
        left = 1

        def get_next(self) -> Any:
            self.left -= 1
            noise = np.random.default_rng(0).standard_normal((1, 3, 128, 96)).astype(np.float32)
            return {"images": noise} if self.left >= 0 else None

    quantise(
        files["fp32"],
        files["int8"],
        Noise(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "ConvTranspose"],
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "DedicatedQDQPair": True,
            "AddQDQPairToWeight": True,
        },
    )
    return files


@pytest.mark.slow
def test_networks_of_the_paper_build_and_shrink(api: Api, paper_network: dict[str, Path]) -> None:
    # One profile: each may keep weights in a layout of its own.
    one_profile = dataclasses.replace(BOTH, profiles=((1, 4, 16),))
    built = {
        name: build_plan(api, path, dataclasses.replace(PAPER, precision=name), one_profile)
        for name, path in paper_network.items()
    }
    sizes = {name: len(one.plan) for name, one in built.items()}
    assert 0.45 < sizes["fp16"] / sizes["fp32"] < 0.6
    assert sizes["int8"] / sizes["fp32"] < 0.65
    assert parsed(api, paper_network["fp16"])[0] == {"HALF"}
    # Nobody calls an FP32 file FP16.
    with pytest.raises(ModelError, match="is not fp16"):
        build_plan(api, paper_network["fp32"], dataclasses.replace(PAPER, precision="fp16"))
    with pytest.raises(ModelError, match="is not int8"):
        build_plan(api, paper_network["fp16"], dataclasses.replace(PAPER, precision="int8"))


def node(kind: str, domain: str = "", **attributes: Any) -> onnx.GraphProto:
    """A graph of one node without weights."""
    shape = ["batch", 3, 64, 48]
    return helper.make_graph(
        [helper.make_node(kind, ["images"], ["out"], domain=domain, **attributes)],
        kind,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )


def refusal(api: Api, path: Path, spec: ModelSpec = SPEC, options: Any = None) -> str:
    with pytest.raises(ModelError) as error:
        build_plan(api, path, spec, options)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert "no reason given" not in sentence
    return sentence


def test_broken_files_are_refused(api: Api, tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC)
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert "has no outputs" in refusal(api, path)
    path.write_bytes(b"\x0a\x00")  # valid protobuf by chance
    assert "has no outputs" in refusal(api, path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "Failed to parse" in refusal(api, path)
    assert "cannot be read" in refusal(api, tmp_path / "none.onnx")


def test_unsupported_operators_are_named(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = helper.make_model(
        node("Mystery", "com.example"),
        opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("com.example", 1)],
        ir_version=8,
    )
    path.write_bytes(model.SerializeToString())
    assert "Plugin not found" in refusal(api, path)
    assert refusal(api, write(node("NonZero"), SPEC, path))


def test_weights_that_do_not_fit_are_refused(api: Api, tmp_path: Path) -> None:
    def conv(dtype: Any, channels: int) -> onnx.GraphProto:
        weight = numpy_helper.from_array(np.ones((17, channels, 1, 1), dtype), "weight")
        return helper.make_graph(
            [helper.make_node("Conv", ["images", "weight"], ["out"])],
            "conv",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 64, 48])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
            [weight],
        )

    path = tmp_path / "m.onnx"
    assert refusal(api, write(conv(np.float32, 4), SPEC, path))
    assert "same type" in refusal(api, write(conv(np.float16, 3), SPEC, path))


def test_profiles_that_do_not_fit_are_refused(api: Api, tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC)
    other = dataclasses.replace(SPEC, input_size=(96, 64))
    assert "does not take" in refusal(api, path, other)
    for profile in ((0, 1, 2), (2, 1, 3), (1, 4, 3)):
        with pytest.raises(InputError, match="makes no sense"):
            BuildOptions(profiles=(profile,))
    with pytest.raises(InputError, match="at least one"):
        BuildOptions(profiles=())
    with pytest.raises(InputError, match="0 to 5"):
        BuildOptions(optimization_level=6)
    with pytest.raises(InputError, match="workspace"):
        BuildOptions(workspace_mb=0)


@pytest.mark.parametrize("target", ["sm87", "sm90", "current_", "86", "value"])
def test_unknown_targets_are_refused(api: Api, tmp_path: Path, target: str) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC)
    with pytest.raises(InputError, match="sm86"):
        build_plan(api, path, SPEC, BuildOptions(targets=(target,)))


@pytest.mark.parametrize("batch", [1, 3, "batch"])
def test_every_option_is_taken(api: Api, tmp_path: Path, batch: int | str) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC, batch=batch)
    options = BuildOptions(((1, 1, 1), (1, 4, 8)), 256, 1, ("sm75",))
    built = build_plan(api, path, SPEC, options)
    assert isinstance(built, Built)
    assert built.types == {"FLOAT": 1}
    assert not built.timing_cache  # RTX has none


def test_phases_and_steps_are_told(api: Api, tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC)
    told: list[tuple[str, int, int | None]] = []
    build_plan(api, path, SPEC, progress=lambda *step: told.append(step))
    assert {phase for phase, _, _ in told if phase}
    assert all(total is not None and 0 <= done <= total for _, done, total in told)


def test_an_interrupt_stops_the_build(api: Api, tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", SPEC)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(api, path, SPEC, progress=interrupt)
    assert build_plan(api, path, SPEC).plan
