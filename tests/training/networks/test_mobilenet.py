"""MobileNetV2 as MoveNet Thunder has it: features of the published file, padding, refusals."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pcr_rt.errors import ModelError
from pcr_rt.training.networks.mobilenet import MobileNetV2Encoder, load_movenet

# Where the file's stages end: the last sum of each resolution.
ENDS = ("block_2_add", "block_5_add", "block_12_add", "block_15_add")


@pytest.mark.shared
def test_maps_equal_those_of_the_file(shared):
    path = shared / "models/movenet_thunder_256.onnx"
    model = onnx.load(path)
    names = [o for end in ENDS for n in model.graph.node for o in n.output if f"/{end}/add" in o]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    published = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3)).astype(np.int32)
    expected = published.run(names, {"input:0": image})
    encoder = MobileNetV2Encoder().eval()
    load_movenet(encoder, path)
    with torch.no_grad():
        own = encoder.maps(torch.from_numpy(image).permute(0, 3, 1, 2) / 127.5 - 1)
    assert len(own) == len(expected) == 4
    for a, b in zip(own, expected, strict=True):
        assert np.abs(b).max() > 1
        np.testing.assert_allclose(a.numpy(), b, atol=2e-3)


def test_size():
    """Counted by hand: each block's 1x1, 3x3 depthwise and 1x1 convolutions with their biases."""

    def convolution(inputs, outputs, area=1):
        return (inputs * area + 1) * outputs

    def block(width, inside, out):
        return convolution(width, inside) + convolution(1, inside, 9) + convolution(inside, out)

    stem = convolution(3, 56, 9) + convolution(1, 56, 9) + convolution(56, 32)
    blocks = block(32, 192, 40) + block(40, 240, 40)
    blocks += block(40, 240, 56) + 2 * block(56, 336, 56)
    blocks += block(56, 336, 112) + 3 * block(112, 672, 112)
    blocks += block(112, 672, 168) + 2 * block(168, 1008, 168)
    blocks += block(168, 1008, 280) + 2 * block(280, 1680, 280)
    assert sum(p.numel() for p in MobileNetV2Encoder().parameters()) == stem + blocks


@pytest.mark.parametrize("size", [(64, 64), (96, 32)])
def test_maps(size):
    encoder = MobileNetV2Encoder().eval()
    with torch.no_grad():
        maps = encoder.maps(torch.zeros(2, 3, *size))
        last = encoder(torch.zeros(2, 3, *size))
    assert [tuple(m.shape) for m in maps] == [
        (2, c, size[0] // s, size[1] // s)
        for c, s in zip(encoder.map_channels, (4, 8, 16, 32), strict=True)
    ]
    torch.testing.assert_close(last, maps[-1])


def test_padding_is_that_of_tensorflow():
    """At stride 2 the first output's window begins at the first row: nothing is padded above."""
    first = MobileNetV2Encoder().stem[0]
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    first[:2](x)[0, :, 0, 0].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero()
    assert seen.min(0).values.tolist() == [0, 0]
    assert seen.max(0).values.tolist() == [2, 2]


def convolutions(path, count, shape=(56, 3, 3, 3)):
    """An ONNX file of so many equal convolutions, their weights in FP16 behind a Cast."""
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    constants = [
        numpy_helper.from_array(weight, "half"),
        numpy_helper.from_array(np.arange(shape[0], dtype=np.float32), "b"),
    ]
    nodes = [helper.make_node("Cast", ["half"], ["w"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Conv", ["x", "w", "b"], [f"y{i}"]) for i in range(count)]
    ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, None)] for n in ("x", "y0")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *ends, initializer=constants)), path)
    return path


def test_refuses_other_files(tmp_path):
    encoder = MobileNetV2Encoder()
    with pytest.raises(ModelError, match="has 2 convolutions, MoveNet Thunder's body alone has 48"):
        load_movenet(encoder, convolutions(tmp_path / "two.onnx", 2))
    with pytest.raises(ModelError, match=r"convolution 1 is \(56, 3, 3, 3\), MoveNet Thunder has"):
        load_movenet(encoder, convolutions(tmp_path / "many.onnx", 60))
