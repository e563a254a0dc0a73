"""Weights of a model file that ``pcr-rt export`` wrote, back in the network that it came from."""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import DataError
from pcr_rt.export.compare import fp32_spec
from pcr_rt.export.onnx_export import export_onnx
from pcr_rt.models import ModelSpec
from pcr_rt.training.data.input import Input
from pcr_rt.training.networks.convolutions import onnx_convolutions

__all__ = ["load_exported"]

MOST_DIFFERENCE = 1e-3
"""How far file and network may be apart, as a part of the largest value in the heatmaps."""

_Convolution = nn.Conv2d | nn.ConvTranspose2d


def load_exported(network: nn.Module, path: Path, crops: Input) -> None:
    """Fill ``network`` from an FP32 model file that takes its crops as ``crops`` says.

    The file's batch norms are folded into its convolutions. They come back with mean 0 and
    variance 1, so that they pass on what they get, and have to keep these statistics in training.
    What a prediction does without, like the heads of all levels but the last, stays as it is.
    Raises DataError if the file is of another network or takes other crops, ModelError if it
    cannot be read or has another precision; the network is then as it was.
    """
    spec = fp32_spec(path)
    for key in ("transform", "mean", "std"):
        file, own = getattr(spec, key), getattr(crops, key)
        if file != own:
            raise DataError(
                f"{path} expects {key} = {file!r}, this recipe's [input] has {own!r}: set it to the"
                " former."
            )
    width, height = spec.input_size
    images = torch.randn((2, 3, height, width), generator=torch.Generator().manual_seed(0))
    filled = copy.deepcopy(network).cpu().eval()
    maps = np.zeros(0)
    if _fill(filled, path, spec, images):
        with torch.no_grad():
            maps = filled(images).levels[-1].numpy()
    expected = OnnxRuntimeEngine(path, device="cpu").run(images.numpy())[0]
    most = MOST_DIFFERENCE * min(np.abs(expected).max(), 1)
    if maps.shape != expected.shape or np.abs(maps - expected).max() > most:
        raise DataError(
            f"{path} is not of this recipe's network: give a model that was trained with the same"
            " [network], as pcr-rt export writes it without --plain."
        )
    network.load_state_dict(filled.state_dict())


def _fill(network: nn.Module, path: Path, spec: ModelSpec, images: Tensor) -> bool:
    """Fill ``network`` from the file; whether the file's convolutions have its shapes.

    A file of the network as it is shows which convolution went where, and by which factor.
    """
    computed = _computed(network, images)
    wanted = onnx_convolutions(path)
    shapes = Counter(convolution.weight.shape for convolution in computed)
    if Counter(weight.shape for weight, _ in wanted) - shapes:
        return False
    _neutral(computed.values())
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.onnx"
        export_onnx(network, spec, probe)
        present = onnx_convolutions(probe)
    if [weight.shape for weight, _ in present] != [weight.shape for weight, _ in wanted]:
        return False
    for (own, _), (weight, bias) in zip(present, wanted, strict=True):
        convolution, factor = _source(own, computed)
        norm = computed[convolution]
        own_bias = norm.bias if norm is not None else convolution.bias
        with torch.no_grad():
            convolution.weight.copy_(weight / factor)
            if own_bias is not None and bias is not None:
                own_bias.copy_(bias / factor)
    return True


def _computed(network: nn.Module, images: Tensor) -> dict[_Convolution, nn.BatchNorm2d | None]:
    """The convolutions that the network computes, each with the batch norm behind it."""
    norms: dict[_Convolution, nn.BatchNorm2d | None] = {}
    last: list[tuple[_Convolution, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if isinstance(module, nn.BatchNorm2d):
            norms.update((conv, module) for conv, tensor in last if tensor is inputs[0])
        else:
            convolution = cast(_Convolution, module)
            norms[convolution] = None
            last[:] = [(convolution, output)]

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return norms


def _neutral(norms: Iterable[nn.BatchNorm2d | None]) -> None:
    """Norms that change nothing."""
    with torch.no_grad():
        for norm in norms:
            if norm is not None:
                norm.weight.fill_(1)
                norm.bias.zero_()
                cast(Tensor, norm.running_mean).zero_()
                cast(Tensor, norm.running_var).fill_(1 - norm.eps)


def _source(
    weight: Tensor, computed: dict[_Convolution, nn.BatchNorm2d | None]
) -> tuple[_Convolution, float]:
    """The convolution that a weight is a multiple of, and the factor."""
    for convolution in computed:
        own = convolution.weight.detach()
        if own.shape == weight.shape:
            factor = float((own * weight).sum() / own.square().sum())
            if torch.allclose(factor * own, weight, rtol=1e-4, atol=1e-6):
                return convolution, factor
    raise AssertionError("the exported network has a convolution that it does not compute")
