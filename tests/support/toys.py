"""Tiny ONNX models whose answers can be told by looking at the image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pcr_rt.models import METADATA_KEY, ModelSpec

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}


def brightness_model(
    path: Path,
    spec: ModelSpec | None,
    *,
    stride: int = 1,
    joints: int = 17,
    batch: int | str = "batch",
    size: tuple[int, int] = (48, 64),
) -> Path:
    """Write a model whose map of joint k is the red channel times (k + 1) / joints."""
    weight = np.zeros((joints, 3, 1, 1), np.float32)
    weight[:, 0, 0, 0] = np.arange(1, joints + 1) / joints
    width, height = size
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "weight"], ["heatmaps"], strides=[stride, stride])],
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, height, width])],
        [
            helper.make_tensor_value_info(
                "heatmaps", TensorProto.FLOAT, [batch, joints, height // stride, width // stride]
            )
        ],
        [numpy_helper.from_array(weight, "weight")],
    )
    return write(graph, spec, path)


def constant_model(
    path: Path, spec: ModelSpec | None, size: tuple[int, int], outputs: list[np.ndarray]
) -> Path:
    """Write a model that answers the same for every image; the batch is 1."""
    nodes, infos, values = [], [], []
    for i, array in enumerate(outputs):
        values.append(numpy_helper.from_array(array.astype(np.float32), f"value{i}"))
        nodes.append(helper.make_node("Identity", [f"value{i}"], [f"out{i}"]))
        infos.append(helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, array.shape))
    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size[1], size[0]])
    return write(helper.make_graph(nodes, "constant", [entry], infos, values), spec, path)


def write(graph: onnx.GraphProto, spec: ModelSpec | None, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if spec is not None:
        model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    path.write_bytes(model.SerializeToString())
    return path


def blob_frame(
    size: tuple[int, int], centre: tuple[float, float], sigma: float = 6.0, peak: float = 250.0
) -> np.ndarray:
    """Draw a black frame with one red Gaussian blob at a sub-pixel place."""
    x, y = np.arange(size[0])[None, :], np.arange(size[1])[:, None]
    blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    frame[..., 2] = np.round(peak * blob)
    return frame


def save(path: Path, frame: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), frame)
    return path
