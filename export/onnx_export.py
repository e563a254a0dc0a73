"""torch -> ONNX: free batch, shapes settled, simplified, spec embedded, checked against torch."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxsim
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from pcr_rt.errors import ModelError
from pcr_rt.export.model_file import place, write_as_it_is
from pcr_rt.inference.agreement import SAMPLE, keypoints_in_input, person_crops
from pcr_rt.media import read_image
from pcr_rt.models import ModelSpec

__all__ = [
    "OPSET",
    "TorchDifference",
    "export_onnx",
    "settle_shapes",
]

log = logging.getLogger(__name__)

OPSET = 17
MOST_HEATMAPS, MOST_SHIFT_PX = 1e-3, 0.1
"""How far a written file may be from torch: in heatmaps, and in keypoints by a median."""
SETTLING_BATCH = 2
"""The batch that a model has while its shapes are settled."""


class _Prediction(nn.Module):
    """The network's last level alone, which is all that inference needs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        heatmaps: Tensor = self.network(images).levels[-1]
        return heatmaps


class TorchDifference(NamedTuple):
    """How far a file is from torch: ``heatmaps`` at most, keypoints by a median of ``pixels``."""

    heatmaps: float
    pixels: float

    def __str__(self) -> str:
        return f"heatmaps by at most {self.heatmaps:.1e}, keypoints by {self.pixels:.1e} px"


def export_onnx(network: nn.Module, spec: ModelSpec, path: Path) -> TorchDifference:
    """Write ``network`` as an ONNX file for ``spec``; return how far it is from torch.

    They are compared on the people of the sample image, keypoints in input pixels. Raises
    ModelError when heatmaps differ by more than 1e-3 or keypoints by a median of more than 0.1, and
    DataError when the file cannot be written.
    """
    module = _Prediction(network).eval()
    crops = person_crops(read_image(SAMPLE), spec)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        raw = Path(folder) / "raw.onnx"
        with warnings.catch_warnings():
            # That the exporter is the older one, and constants that onnxsim folds afterwards.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (torch.from_numpy(crops[:2]),),
                str(raw),
                input_names=["images"],
                output_names=["heatmaps"],
                dynamic_axes={"images": {0: "batch"}, "heatmaps": {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
        expected = module(torch.from_numpy(crops)).numpy()
        exported = Path(folder) / "exported.onnx"
        write_as_it_is(settle_shapes(onnx.load(raw)), spec, exported)
        difference = _difference(_run(exported, crops), expected, spec)
        if not (difference.heatmaps <= MOST_HEATMAPS and difference.pixels <= MOST_SHIFT_PX):
            raise ModelError(
                f"The exported {spec.name!r} differs from torch ({difference}), more than"
                f" {MOST_HEATMAPS} or {MOST_SHIFT_PX} px: it was not written."
            )
        place(exported.read_bytes(), path)
    log.info("%s: %.1f MB", path, path.stat().st_size / 1e6)
    return difference


def settle_shapes(model: Any) -> Any:
    """Remove the nodes that compute shapes from a model with a free batch and a fixed input size.

    Meanwhile the batch is 2; a Reshape to two samples then is one to as many as there are. Raises
    ModelError if onnxsim finds that the result differs.
    """
    sizes = {}
    for value in model.graph.input:
        _, *rest = (dim.dim_value for dim in value.type.tensor_type.shape.dim)
        sizes[value.name] = [SETTLING_BATCH, *rest]
    settled, valid = onnxsim.simplify(model, overwrite_input_shapes=sizes)
    if not valid:
        raise ModelError("The model with settled shapes does not compute what it did.")
    for value in (*settled.graph.input, *settled.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del settled.graph.value_info[:]
    shapes = {node.input[1] for node in settled.graph.node if node.op_type == "Reshape"}
    for constant in settled.graph.initializer:
        if constant.name in shapes:
            shape = numpy_helper.to_array(constant).copy()
            if shape[0] == SETTLING_BATCH:
                shape[0] = 0  # as in the input
                constant.CopyFrom(numpy_helper.from_array(shape, constant.name))
    return settled


def _difference(
    found: NDArray[np.float32], expected: NDArray[np.float32], spec: ModelSpec
) -> TorchDifference:
    places, others = (keypoints_in_input([maps], spec)[0] for maps in (expected, found))
    shift = float(np.median(np.linalg.norm(others - places, axis=2)))
    return TorchDifference(float(np.abs(found - expected).max()), shift)


def _run(path: Path, crops: NDArray[np.float32]) -> NDArray[np.float32]:
    from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine

    output: NDArray[np.float32] = OnnxRuntimeEngine(path, device="cpu").run(crops)[0]
    return output
