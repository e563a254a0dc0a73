"""Where a network trains: the device, and several processes that share each batch.

``part`` is (rank, processes) throughout: (0, 1) for a process alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pcr_rt.errors import DataError, InputError

__all__ = [
    "anywhere",
    "check_device",
    "mean_over",
    "part_of_batch",
    "processes",
    "wrap",
]


def check_device(name: str) -> torch.device:
    """Resolve ``auto`` (CUDA if PyTorch can use it), ``cpu``, ``cuda`` or ``cuda:<number>``.

    Raises InputError for another name and for a device that does not exist.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (name != "cuda" and not index.isdigit())):
        raise InputError(f"device is {name!r}; use 'auto', 'cpu', 'cuda' or 'cuda:<number>'.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device={name!r} is not there: PyTorch {torch.__version__} finds"
            f" {torch.cuda.device_count()} CUDA devices; use 'cpu', or install PyTorch for CUDA."
        )
    return torch.device(name)


@contextmanager
def processes(device: str) -> Iterator[tuple[int, int]]:
    """Give this process's part; under torchrun with a process group while it lasts."""
    if "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        yield _own_part() if distributed.is_initialized() else (0, 1)
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield _own_part()
    finally:
        distributed.destroy_process_group()


def _own_part() -> tuple[int, int]:
    return distributed.get_rank(), distributed.get_world_size()


def part_of_batch(batch: int, part: tuple[int, int]) -> int:
    """Divide a batch: return how many samples (two or more) each process gets.

    Raises DataError unless all processes get equally many, and two or more: the batch norm of a
    CAM's SE branch sees one value per sample.
    """
    count, rest = divmod(batch, part[1])
    if rest or count < 2:
        raise DataError(
            f"A batch of {batch} cannot be shared by {part[1]} processes: set batch to a multiple"
            f" of {part[1]}, at least {2 * part[1]}."
        )
    return count


def wrap(network: nn.Module, part: tuple[int, int]) -> nn.Module:
    """Wrap the network so that its gradients are averaged over all processes."""
    return DistributedDataParallel(network) if part[1] > 1 else network


def mean_over(value: Tensor, part: tuple[int, int]) -> float:
    """Average a number over all processes."""
    if part[1] > 1:
        distributed.all_reduce(value)
    return float(value) / part[1]


def anywhere(value: bool, part: tuple[int, int], device: str) -> bool:
    """Tell whether the value is true in any process."""
    if part[1] == 1:
        return value
    return mean_over(torch.tensor(float(value), device=device), part) > 0
