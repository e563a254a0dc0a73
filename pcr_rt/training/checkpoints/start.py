"""What a run starts from: another run, a model file, a published checkpoint, or an encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pcr_rt.errors import DataError
from pcr_rt.export.compare import fp32_spec
from pcr_rt.models import model_path, shipped_models
from pcr_rt.training.checkpoints.checkpoint import (
    fill,
    first_difference,
    load_checkpoint,
    reading,
)
from pcr_rt.training.checkpoints.exported import load_exported
from pcr_rt.training.checkpoints.published import load_published, load_published_encoder
from pcr_rt.training.data.input import Input
from pcr_rt.training.networks.baselines import HeadOnly, SimpleBaseline
from pcr_rt.training.networks.efficientnet import EfficientNetLite0Encoder, load_imagenet
from pcr_rt.training.networks.lite_hrnet import LiteHRNetEncoder, load_tinypose
from pcr_rt.training.networks.mobilenet import MobileNetV2Encoder, load_movenet

__all__ = ["load_encoder", "load_start", "start_from", "weights_file"]

_ENCODER = "encoder."


def weights_file(name: str, data: Path) -> Path:
    """Find the FP32 file of a shipped model, or what lies under that name in ``data``."""
    path = data / name
    return model_path(name, "fp32") if name in shipped_models() and not path.exists() else path


def start_from(
    network: nn.Module,
    name: str,
    data: Path,
    crops: Input,
    *,
    norms_frozen: bool,
    twin: Callable[[int], nn.Module],
) -> str:
    """Fill the network from what a recipe's ``start`` names: a model file, a run or a checkpoint.

    Prediction heads of another number of keypoints stay as they are, which the returned sentence
    says ("" if there are none). crops: what the recipe makes.
    norms_frozen: whether all batch norms keep their statistics. twin: makes the same network for a
    number of keypoints. Raises DataError if the weights are of another network, or expect other
    crops.
    """
    path = weights_file(name, data)
    if path.suffix != ".onnx":
        return load_start(network, path, crops)
    if not norms_frozen:
        raise DataError(
            f"start is the model file {name!r}, whose batch norms are folded into its"
            ' convolutions: set frozen_norms = "all" in [optimizer].'
        )
    exported = twin(len(fp32_spec(path).skeleton))
    load_exported(exported, path, crops)
    return fill(network, exported.state_dict(), path.name)


def load_start(network: nn.Module, path: Path, crops: Input) -> str:
    """Fill the network from a run (``best.pt``, or the folder that holds one).

    Baselines also start from the published pose_resnet and pose_hrnet checkpoints. Returns what
    `fill` says. Raises DataError if the file cannot be read, is of another network, or was trained
    on other crops.
    """
    file = path / "best.pt" if path.is_dir() else path
    content = load_checkpoint(file)
    with reading(file):
        return _fill_from(network, content, file, crops)


def _fill_from(network: nn.Module, content: dict[str, Any], file: Path, crops: Input) -> str:
    trained = content.get("recipe", {}).get("input")
    if trained and first_difference(trained, dataclasses.asdict(crops)):
        raise DataError(f"{file} was trained on other crops: [input] has to be {trained}.")
    tensors = content.get("average", content.get("network"))
    if isinstance(tensors, dict):
        return fill(network, tensors, str(file))
    if isinstance(network, (SimpleBaseline, HeadOnly)):
        return load_published(network, file)
    raise DataError(f"{file} is no checkpoint of a run: give a best.pt or its folder.")


def load_encoder(network: nn.Module, source: str, data: Path) -> None:
    """Start the encoder from ``source``.

    The folder of a run in ``data`` gives that network's encoder. "imagenet" is the package with
    EfficientNet-Lite0's weights. Other encoders read a file in ``data``: Lite-HRNet PP-TinyPose's
    ONNX or OpenVINO IR, MobileNetV2 MoveNet Thunder's ONNX, ResNet and HRNet a published
    checkpoint.
    """
    encoder = network.get_submodule("encoder")
    run = data / source
    if run.is_dir():
        with reading(run / "best.pt"):
            tensors: dict[str, Tensor] = load_checkpoint(run / "best.pt")["network"]
        own = {k.removeprefix(_ENCODER): v for k, v in tensors.items() if k.startswith(_ENCODER)}
        fill(encoder, own, f"the encoder of {run}")
    elif isinstance(encoder, EfficientNetLite0Encoder):
        if source != "imagenet":
            raise DataError(f'encoder_weights is {source!r}; EfficientNet-Lite0 takes "imagenet".')
        load_imagenet(encoder)
    elif isinstance(encoder, LiteHRNetEncoder):
        load_tinypose(encoder, data / source)
    elif isinstance(encoder, MobileNetV2Encoder):
        load_movenet(encoder, data / source)
    else:
        load_published_encoder(encoder, data / source)
