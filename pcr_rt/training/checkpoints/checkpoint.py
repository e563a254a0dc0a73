"""Checkpoints of our own runs: write, read without running code, compare, export."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcr_rt.errors import DataError, PoseError
from pcr_rt.export.onnx_export import TorchDifference, export_onnx
from pcr_rt.files import replace_whole
from pcr_rt.geometry import Size
from pcr_rt.models import ModelSpec
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.targets import sigma_for
from pcr_rt.training.networks.encoder import check_input_size
from pcr_rt.training.networks.maps import heatmap_size
from pcr_rt.training.networks.registry import build

__all__ = [
    "export_checkpoint",
    "fill",
    "first_difference",
    "load_checkpoint",
    "network_and_spec",
    "reading",
    "save_checkpoint",
]

log = logging.getLogger(__name__)

UNTRAINED = {"name", "validation", "broken", "start", "encoder_weights", "person_score"}
"""Keys of a recipe that say nothing of the steps that a run still has to make."""

HEADS = ("heads.", "auxiliary_heads.", "final_layer.")
"""How the names of prediction heads begin."""

NAMED = 5
"""How many keys of a kind an error message lists."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path``; the file that was there stays until the new one is complete.

    Raises DataError when the folder cannot be written or the disk is full.
    """
    try:
        replace_whole(path, partial(torch.save, content), sync=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"The checkpoint {path} could not be written ({error}); the last good one is kept."
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``. Raises DataError when it is broken."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"The checkpoint {path} does not exist.") from None
    except Exception as error:
        # torch's own message goes on for a page and advises to load the file as code.
        raise DataError(
            f"The checkpoint {path} cannot be read: it is broken, or no checkpoint of PCR-RT."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"The file {path} is no checkpoint of PCR-RT: give the best.pt of a run.")
    return content


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise what a checkpoint with other content than ours leads to inside as a DataError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        if isinstance(e, PoseError):
            raise
        said = " ".join(str(e).split())[:100]
        raise DataError(
            f"The checkpoint {path} holds something else than a run writes"
            f" ({type(e).__name__}: {said}): give the best.pt of a run."
        ) from e


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Find the first key of two recipes (nested tables) that changes what is trained; "" if none.

    A key that only one of them has is of another version, and counts as its default there.
    """
    for key in now:
        if key not in before or key in UNTRAINED:
            continue
        one, other = before[key], now[key]
        if isinstance(one, dict) and key != "network":  # of that, a key left out counts too
            inner = first_difference(one, other)
            if inner:
                return f"{key}.{inner}"
        elif json.dumps(one) != json.dumps(other):
            return key
    return ""


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> str:
    """Copy ``tensors`` into the parameters and buffers of the same names; all must fit.

    Prediction heads of another number of keypoints stay as they are, which the log and the returned
    sentence say ("" if there are none). source: what messages call the tensors. Raises DataError
    with the missing, unexpected and misshaped keys, and leaves the network as it was.
    """
    own = network.state_dict()
    fresh = [
        key
        for key in own
        if key.startswith(HEADS)
        and key in tensors
        and tensors[key].shape[0] != own[key].shape[0]
        and tensors[key].shape[1:] == own[key].shape[1:]
    ]
    said = ""
    if fresh:
        before, now = (part[fresh[0]].shape[0] for part in (tensors, own))
        said = (
            f"{source} has prediction heads of {before} keypoints, this network of {now}: they"
            f" begin anew ({', '.join(fresh)})"
        )
        log.info("%s", said)
        tensors = {**tensors, **{key: own[key] for key in fresh}}
    missing = [key for key in own if key not in tensors]
    unexpected = [key for key in tensors if key not in own]
    misshaped = [
        f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshaped": misshaped}
    problems = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in kinds.items() if keys]
    if problems:
        raise DataError(
            f"The weights of {source} are not of this network, its keys differ:"
            f" {'; '.join(problems)}; give a file of the same architecture."
        )
    network.load_state_dict(tensors)
    return said


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")


def network_and_spec(checkpoint: Path, size: Size | None = None) -> tuple[nn.Module, ModelSpec]:
    """Build the network of a ``best.pt`` in evaluation mode, with the spec that its recipe implies.

    Raises DataError for a file that is no such checkpoint and for a size that does not suit the
    network.
    """
    content = load_checkpoint(checkpoint)
    if not {"network", "recipe", "size", "score", "step"} <= content.keys():
        raise DataError(f"{checkpoint} is no finished checkpoint: give the best.pt of a run.")
    with reading(checkpoint):
        return _network_and_spec(content, checkpoint, size)


def _network_and_spec(
    content: dict[str, Any], checkpoint: Path, size: Size | None
) -> tuple[nn.Module, ModelSpec]:
    recipe: dict[str, Any] = content["recipe"]
    skeleton = COCO17  # runs of earlier versions do not name one
    if "skeleton" in content:
        skeleton = Skeleton.from_table(content["skeleton"], str(checkpoint))
    network = build(recipe["network"], len(skeleton)).eval()
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
        person_score=recipe.get("person_score", "rms"),  # runs of earlier versions have no such key
        skeleton=skeleton,
        provenance={
            "recipe": recipe,
            "steps": content["step"],
            "validation_ap" if skeleton.sigmas else "validation_pck_auc": round(
                content["score"], 4
            ),
            "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        },
    )
    return network, spec


def export_checkpoint(
    checkpoint: Path, output: Path, *, size: Size | None = None
) -> tuple[ModelSpec, TorchDifference]:
    """Write the checkpoint's network to ``output``; return its spec and how far it is from torch.

    size: input (w, h), that of the last stage unless given.
    """
    network, spec = network_and_spec(checkpoint, size)
    return spec, export_onnx(network, spec, output)
