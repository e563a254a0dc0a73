"""Checkpoints of others, by key name: SimpleBaseline, HRNet and ImageNet classifiers.

Our encoders carry the names of torchvision's ResNet (timm's are the same) and of pose_hrnet; whole
networks differ from pose_resnet and pose_hrnet by the prefix ``encoder.`` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pcr_rt.errors import DataError
from pcr_rt.training.checkpoints.checkpoint import fill, load_checkpoint
from pcr_rt.training.networks.hrnet import HRNetEncoder
from pcr_rt.training.networks.resnet import ResNetEncoder

__all__ = ["load_published", "load_published_encoder"]

_HEADS = ("deconv_layers.", "final_layer.")
# What a file has beyond the encoder: pose heads, classifiers and, in HRNet's classifiers, the
# exchange to the coarser branches of the last module, which pose networks do without.
_BEYOND_RESNET = (*_HEADS, "fc.")
_BEYOND_HRNET = (
    *_HEADS,
    *("incre_modules.", "downsamp_modules.", "classifier."),
    *(f"stage4.2.fuse_layers.{row}." for row in (1, 2, 3)),
)


def load_published(network: nn.Module, path: Path) -> str:
    """Fill a whole network from a pose_resnet or pose_hrnet checkpoint.

    network: a ``SimpleBaseline`` or a ``HeadOnly``. Returns what `fill` says. Raises
    DataError, which lists the keys, if the file is of another network.
    """
    tensors = read_tensors(path)
    renamed = {k if k.startswith(_HEADS) else f"encoder.{k}": v for k, v in tensors.items()}
    return fill(network, _with_counters(network, renamed), str(path))


def load_published_encoder(encoder: nn.Module, path: Path) -> None:
    """Fill a ResNet or HRNet encoder from an ImageNet classifier or a pose network.

    What the file has beyond the encoder is left out. Raises DataError, which lists the keys, if
    the file is of another network.
    """
    if not isinstance(encoder, (ResNetEncoder, HRNetEncoder)):
        raise DataError(
            f"encoder_weights = {path.name!r} is for ResNet and HRNet encoders; this encoder is a"
            f" {type(encoder).__name__}."
        )
    beyond = _BEYOND_RESNET if isinstance(encoder, ResNetEncoder) else _BEYOND_HRNET
    tensors = {k: v for k, v in read_tensors(path).items() if not k.startswith(beyond)}
    fill(encoder, _with_counters(encoder, tensors), str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a checkpoint, without the wrapping of training scripts.

    Files hold them at the top, or under ``state_dict`` or ``model``; DataParallel puts ``module.``
    before each name.
    """
    content: dict[str, Any] = load_checkpoint(path)
    for wrapping in ("state_dict", "model"):
        if isinstance(content.get(wrapping), dict):
            content = content[wrapping]
    tensors = {k.removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise DataError(f"{path} holds no named tensors: give a checkpoint with a state_dict.")
    return tensors


def _with_counters(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Files older than PyTorch 0.4.1 do not count batches; nothing here reads the count."""
    own = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    return {**own, **tensors}
