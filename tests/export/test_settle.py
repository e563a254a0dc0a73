"""Models without shape arithmetic compute what they did, for any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime as ort

from pcr_rt.export.onnx_export import settle_shapes


class Shuffle(torch.nn.Module):
    """Halves, interleaved, then flattened by channel, which as a network asks for its shape."""

    def forward(self, x: Any) -> Any:
        a, b = x.chunk(2, dim=1)
        return torch.stack((a, 2 * b), dim=2).flatten(1, 2)


@pytest.fixture
def exported(tmp_path: Path) -> Any:
    path = tmp_path / "shuffle.onnx"
    torch.onnx.export(
        Shuffle(),
        (torch.zeros(2, 6, 4, 5),),
        str(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    return onnx.load(path)


@pytest.mark.filterwarnings("ignore")
def test_no_shapes_are_computed_and_the_batch_is_free(exported: Any) -> None:
    assert "Shape" in {node.op_type for node in exported.graph.node}
    settled = settle_shapes(exported)
    assert not {node.op_type for node in settled.graph.node} & {"Shape", "Gather", "Div"}
    session = ort.InferenceSession(settled.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 6, 4, 5]
    assert session.get_outputs()[0].shape == ["batch", 6, 4, 5]
    for batch in (1, 2, 5):
        x = np.random.default_rng(batch).normal(size=(batch, 6, 4, 5)).astype(np.float32)
        (found,) = session.run(None, {"x": x})
        # By hand: channels 0, 3 twice as large, 1, 4, 2, 5.
        expected = x[:, [0, 3, 1, 4, 2, 5]] * np.array([1, 2, 1, 2, 1, 2]).reshape(1, 6, 1, 1)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
