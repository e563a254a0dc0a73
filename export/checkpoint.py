"""A training checkpoint as a model file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from pcr_rt.errors import DataError
from pcr_rt.export.onnx_export import TorchDifference, export_onnx
from pcr_rt.geometry import Size
from pcr_rt.models import ModelSpec
from pcr_rt.training.checkpoints import load_checkpoint
from pcr_rt.training.data.targets import sigma_for
from pcr_rt.training.networks.encoder import check_input_size
from pcr_rt.training.networks.registry import build
from pcr_rt.training.torch_engine import heatmap_size

__all__ = ["export_checkpoint", "network_and_spec"]


def network_and_spec(checkpoint: Path, size: Size | None = None) -> tuple[nn.Module, ModelSpec]:
    """The network of a ``best.pt`` in evaluation mode, and the spec that its recipe implies.

    Raises DataError for a file that is no such checkpoint and for a size that does not suit the
    network.
    """
    content = load_checkpoint(checkpoint)
    if not {"network", "recipe", "size", "score", "step"} <= content.keys():
        raise DataError(f"{checkpoint} is no finished checkpoint: give the best.pt of a run.")
    recipe: dict[str, Any] = content["recipe"]
    network = build(recipe["network"]).eval()
    network.load_state_dict(content["network"])
    width, height = size or content["size"]
    check_input_size(network, (width, height))
    spec = ModelSpec(
        recipe["name"],
        "heatmap",
        (width, height),
        tuple(recipe["input"]["mean"]),
        tuple(recipe["input"]["std"]),
        transform=recipe["input"]["transform"],
        sigma=sigma_for(heatmap_size(network, (width, height))),
        person_score=recipe.get("person_score", "rms"),  # runs of before have no such key
        provenance={
            "recipe": recipe,
            "steps": content["step"],
            "validation_ap": round(content["score"], 4),
            "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        },
    )
    return network, spec


def export_checkpoint(
    checkpoint: Path, output: Path, *, size: Size | None = None
) -> tuple[ModelSpec, TorchDifference]:
    """Write the checkpoint's network to ``output``; its spec and how far it is from torch.

    size: input (w, h), the last stage's unless given.
    """
    network, spec = network_and_spec(checkpoint, size)
    return spec, export_onnx(network, spec, output)
