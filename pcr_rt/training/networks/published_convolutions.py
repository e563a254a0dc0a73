"""The convolutions of somebody else's model file, to fill an encoder of our own with."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from pcr_rt.errors import ModelError
from pcr_rt.training.networks.onnx_convolutions import onnx_convolutions
from pcr_rt.training.networks.openvino_convolutions import ir_convolutions

__all__ = ["fill_convolutions", "published_convolutions"]

Weights = tuple[Tensor, Tensor | None]
"""Weight and bias of a convolution."""


def published_convolutions(path: str | PathLike[str]) -> list[Weights]:
    """Weight and bias of each convolution of an ONNX file or OpenVINO IR (.xml), in FP32.

    They come in the order of the file. Raises ModelError where it cannot be read, or where a
    convolution's weights are not constants.
    """
    file = Path(path)
    return ir_convolutions(file) if file.suffix == ".xml" else onnx_convolutions(file)


def fill_convolutions(
    own: Sequence[nn.Conv2d], published: Sequence[Weights], path: str | PathLike[str], model: str
) -> None:
    """Copy published weights into ``own``, in order; own has a bias each.

    Raises ModelError, naming ``path`` and ``model``, where a shape differs or a bias is missing.
    """
    with torch.no_grad():
        for number, (convolution, (weight, bias)) in enumerate(zip(own, published, strict=True)):
            assert convolution.bias is not None
            own_shapes = convolution.weight.shape, convolution.bias.shape
            if bias is None or (weight.shape, bias.shape) != own_shapes:
                raise ModelError(
                    f"{path}: convolution {number} is {tuple(weight.shape)}, {model} has "
                    f"{tuple(convolution.weight.shape)} with a bias; give the file of {model}."
                )
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)
