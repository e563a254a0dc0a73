"""The GPU that an engine is built for: what must be the same when it is loaded again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pcr_rt.cuda_kernels.kernels.launch import cupy
from pcr_rt.errors import InputError

__all__ = ["cupy", "device_number", "gpu_facts", "l4t_release"]

L4T_RELEASE = Path("/etc/nv_tegra_release")


def device_number(device: str) -> int:
    """The number in ``cuda:1``; 0 for ``auto`` and ``cuda``. Raises InputError for other words."""
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
        raise InputError(f"device is {device!r}; use 'auto', 'cpu', 'cuda' or 'cuda:<number>'.")
    return int(index or 0)


def gpu_facts(device: int) -> dict[str, Any]:
    """Name, compute capability, multiprocessors and memory of a GPU, and the L4T release.

    Raises MissingDependencyError without CuPy, InputError where there is no such GPU.
    """
    runtime = cupy().cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except RuntimeError as error:  # CuPy's CUDARuntimeError: there is no driver
        raise InputError(
            f"CUDA finds no GPU: {' '.join(str(error).split())}. 'pcr-rt doctor' tells more."
        ) from None
    if device >= count:
        raise InputError(f"There is no cuda:{device}: CUDA finds {count} GPUs, counted from 0.")
    found = runtime.getDeviceProperties(device)
    name = found["name"]
    return {
        "gpu": name.decode() if isinstance(name, bytes) else str(name),
        "sm": f"{found['major']}.{found['minor']}",
        "sm_count": int(found["multiProcessorCount"]),
        "memory_mb": int(found["totalGlobalMem"]) >> 20,
        "l4t": l4t_release(),
    }


def l4t_release(path: Path | None = None) -> str | None:
    """Jetson's system release such as ``36.4.0``; None elsewhere."""
    try:
        text = (path or L4T_RELEASE).read_text()
    except OSError:
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None
