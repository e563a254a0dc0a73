"""Named tensors into a network: all of them or none."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pcr_rt.errors import DataError

__all__ = ["fill"]

NAMED = 5
"""How many keys of a kind an error message lists."""


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy ``tensors`` into the parameters and buffers of the same names; all must fit.

    source: what the message calls the tensors. Raises DataError with the missing, unexpected and
    misshaped keys, and leaves the network as it was.
    """
    own = network.state_dict()
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


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")
