"""The readable encoder against the published ONNX file, run by ONNX Runtime."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime
from onnx import TensorProto, helper

from pcr_rt.errors import ModelError
from pcr_rt.training.networks.convolutions import published_convolutions
from pcr_rt.training.networks.lite_hrnet import (
    LiteHRNetEncoder,
    _interleave,
    load_tinypose,
)

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def session(model):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def real_crop(shared):
    """A labelled person's box as the network's input (1, 3, 256, 192)."""
    import cv2

    labels = json.loads((shared / "data/coco_val.json").read_text())
    person = max(labels["annotations"], key=lambda a: a.get("num_keypoints", 0) * a["area"])
    name = next(i["file_name"] for i in labels["images"] if i["id"] == person["image_id"])
    frame = cv2.imread(str(shared / "data/coco_val" / name))
    x, y, w, h = (round(v) for v in person["bbox"])
    crop = cv2.resize(frame[y : y + h, x : x + w, ::-1], (192, 256)) / 255.0
    return ((crop - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)


@pytest.mark.shared
def test_features_equal_those_of_the_file(shared):
    path = shared / "models/tinypose_256x192.onnx"
    model = onnx.load(path)
    head = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    model.graph.output.append(helper.make_tensor_value_info(head.input[0], TensorProto.FLOAT, None))
    published = session(model.SerializeToString())
    encoder = LiteHRNetEncoder().eval()
    load_tinypose(encoder, path)
    weight, bias = published_convolutions(path)[-1]
    noise = np.random.default_rng(0).normal(size=(3, 3, 256, 192)).astype(np.float32)
    for x in (noise, real_crop(shared)):
        heatmaps, expected = published.run(None, {"image": x})
        with torch.no_grad():
            features = encoder(torch.from_numpy(x))
            own_heatmaps = torch.conv2d(features, weight, bias)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(features.numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(own_heatmaps.numpy(), heatmaps, atol=1e-5)


def test_halves_are_shuffled_channel_by_channel():
    # Pixel (y, x) of channel c of the first half holds 100 c + 10 y + x, of the second 1000 more.
    c, y, x = torch.meshgrid(torch.arange(3), torch.arange(2), torch.arange(4), indexing="ij")
    a = (100 * c + 10 * y + x)[None]
    shuffled = _interleave(a, a + 1000)
    assert shuffled[0, :, 1, 3].tolist() == [13, 1013, 113, 1113, 213, 1213]
    assert shuffled[0, :, 0, 2].tolist() == [2, 1002, 102, 1102, 202, 1202]
    assert shuffled.is_contiguous(memory_format=torch.channels_last)


def test_size_of_the_published_network():
    assert sum(p.numel() for p in LiteHRNetEncoder().parameters()) == 1_299_480


@pytest.mark.parametrize("size", [(64, 32), (96, 160)])
def test_any_size_and_every_image_for_itself(size):
    torch.manual_seed(0)
    encoder = LiteHRNetEncoder().eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        both = encoder(x)
        second = encoder(x[1:])
    assert both.shape == (2, encoder.channels, size[0] // 4, size[1] // 4)
    torch.testing.assert_close(both[1:], second)


def test_every_convolution_learns():
    encoder = LiteHRNetEncoder()
    encoder(torch.randn(1, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_exports_with_a_free_batch(tmp_path):
    torch.manual_seed(0)
    encoder = LiteHRNetEncoder().eval()
    path = tmp_path / "encoder.onnx"
    torch.onnx.export(
        encoder,
        (torch.randn(1, 3, 64, 32),),
        str(path),
        input_names=["image"],
        dynamic_axes={"image": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    x = torch.randn(3, 3, 64, 32)
    (exported,) = session(str(path)).run(None, {"image": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(exported, encoder(x).numpy(), atol=1e-5)


def one_convolution(path, shape=(4, 3, 1, 1), bias=True):
    """An ONNX file of one convolution, its bias added behind it as in the published file."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="first")]
    constants = [onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), "w")]
    if bias:
        nodes.append(helper.make_node("Add", ["c", "b"], ["y"]))
        values = np.arange(shape[0], dtype=np.float32).reshape(1, -1, 1, 1)
        constants.append(onnx.numpy_helper.from_array(values, "b"))
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
        for name in ("x", "y" if bias else "c")
    ]
    graph = helper.make_graph(nodes, "one", *ends, initializer=constants)
    onnx.save(helper.make_model(graph), path)
    return path


def test_refuses_other_files(tmp_path):
    encoder = LiteHRNetEncoder()
    other = one_convolution(tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="has 1 convolutions, PP-TinyPose has 269"):
        load_tinypose(encoder, other)
    variable = onnx.load(other)
    del variable.graph.initializer[:]
    onnx.save(variable, tmp_path / "variable.onnx")
    with pytest.raises(ModelError, match="'first' has no constant weights"):
        load_tinypose(encoder, tmp_path / "variable.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    for path in (text, tmp_path / "missing.onnx"):
        with pytest.raises(ModelError, match="not a readable ONNX file"):
            load_tinypose(encoder, path)


def test_refuses_a_file_of_other_shapes(tmp_path):
    """269 convolutions, but not the right ones."""
    model = onnx.load(one_convolution(tmp_path / "one.onnx"))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for i in range(269):
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.output[0] += str(i)
            if node.op_type == "Add":
                copy.input[0] += str(i)
            model.graph.node.append(copy)
    onnx.save(model, tmp_path / "many.onnx")
    with pytest.raises(ModelError, match=r"convolution 0 is \(4, 3, 1, 1\)"):
        load_tinypose(LiteHRNetEncoder(), tmp_path / "many.onnx")
