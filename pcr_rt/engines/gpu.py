"""The GPU of this machine: whether there is one, what it is, and whether our kernels compile."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcr_rt.cuda_kernels.kernels.launch import compile_kernels, cupy
from pcr_rt.cuda_kernels.kernels.queue import on
from pcr_rt.errors import InputError, MissingDependencyError, PoseError

__all__ = [
    "Gpus",
    "check_kernels",
    "cupy",
    "device_number",
    "gpu_facts",
    "l4t_release",
    "look_for_gpus",
    "on",
    "wait_for_device",
]

L4T_RELEASE = Path("/etc/nv_tegra_release")
CAPABILITY_MAJOR, CAPABILITY_MINOR, MULTIPROCESSORS = 75, 76, 16
"""Numbers of CUdevice_attribute."""


@dataclass(frozen=True)
class Gpus:
    """What the driver says. problem: why there is no GPU; names: one entry a GPU.

    cuda: (major, minor), the newest CUDA that the driver serves.
    """

    problem: str = ""
    cuda: tuple[int, int] = (0, 0)
    names: list[str] = field(default_factory=list)


def look_for_gpus() -> Gpus:
    """Ask the driver itself, which works without CuPy, and on Jetsons, which have no NVML."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpus("there is no NVIDIA driver (libcuda.so.1)")
    code = cuda.cuInit(0)
    if code:
        return Gpus(f"the NVIDIA driver does not start (cuInit gives error {code})")
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    names = [_describe(cuda, number) for number in range(count.value)]
    problem = "" if names else "the NVIDIA driver finds no GPU"
    return Gpus(problem, (version.value // 1000, version.value % 1000 // 10), names)


def _describe(cuda: ctypes.CDLL, number: int) -> str:
    device, memory = ctypes.c_int(0), ctypes.c_size_t(0)
    name = ctypes.create_string_buffer(100)
    cuda.cuDeviceGet(ctypes.byref(device), number)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    values = []
    for key in (CAPABILITY_MAJOR, CAPABILITY_MINOR, MULTIPROCESSORS):
        value = ctypes.c_int(0)
        cuda.cuDeviceGetAttribute(ctypes.byref(value), key, device)
        values.append(value.value)
    major, minor, processors = values
    return (
        f"{name.value.decode()}, compute capability {major}.{minor}, {processors} SM,"
        f" {memory.value / 2**30:.0f} GiB"
    )


def device_number(device: str) -> int:
    """Return the number in ``cuda:1``; 0 for ``auto`` and ``cuda``. InputError for other words."""
    found = re.fullmatch(r"auto|cuda(?::(\d+))?", device, re.ASCII)
    if found is None:
        raise InputError(f"device is {device!r}; use 'auto', 'cpu', 'cuda' or 'cuda:<number>'.")
    return int(found[1] or 0)


def gpu_facts(device: int) -> dict[str, Any]:
    """Describe a GPU by what an engine that is built on it depends on.

    Name, compute capability, number of multiprocessors, and the L4T release of a Jetson. Not the
    size of its memory, which is another after an update of the driver. Raises
    MissingDependencyError without CuPy, InputError if there is no such GPU.
    """
    runtime = cupy().cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except RuntimeError as error:  # CuPy's CUDARuntimeError: no driver, or one that is too old
        raise InputError(_no_gpu(" ".join(str(error).split()))) from None
    if device >= count:
        raise InputError(f"There is no cuda:{device}: CUDA finds {count} GPUs, counted from 0.")
    found = runtime.getDeviceProperties(device)
    name = found["name"]
    return {
        "gpu": name.decode() if isinstance(name, bytes) else str(name),
        "sm": f"{found['major']}.{found['minor']}",
        "sm_count": int(found["multiProcessorCount"]),
        "l4t": l4t_release(),
    }


def _no_gpu(reason: str) -> str:
    if "InsufficientDriver" in reason:
        major, minor = look_for_gpus().cuda
        return (
            f"The NVIDIA driver is too old for the CUDA of the installed CuPy, it serves CUDA up to"
            f" {major}.{minor}: update the driver, or install the CuPy of that CUDA with"
            f' pip install ".[cuda{max(major, 12)}]".'
        )
    return f"CUDA finds no GPU: {reason}. 'pcr-rt doctor' tells more."


def check_kernels(device: int) -> None:
    """Compile our CUDA kernels for a GPU, which takes seconds; CuPy keeps them on disk.

    Call it before work that takes minutes and is in vain without them. Raises
    MissingDependencyError with the reason and the repair if they cannot be compiled or loaded, for
    one because NVRTC is missing or the driver is too old.
    """
    try:
        with on(device):
            compile_kernels()
    except PoseError:
        raise
    except Exception as error:  # CuPy, NVRTC and the driver each have their own classes
        reason = " ".join(str(error).split())[:300]
        missing = re.search(r"nvrtc|cannot open source file|header", reason, re.IGNORECASE)
        repair = (
            'NVRTC and CUDA\'s headers come with pip install ".[cuda12]" (or cuda13), and on'
            " a Jetson with 'sudo apt install nvidia-jetpack'"
            if missing
            else "update the NVIDIA driver, and if that does not help, report it with the output of"
            " 'pcr-rt doctor --json'"
        )
        raise MissingDependencyError(
            f"The CUDA kernels cannot be compiled for cuda:{device} ({reason}): {repair}."
        ) from None


def wait_for_device() -> None:
    """Wait for everything that the current device was given; RuntimeError if it has failed."""
    cupy().cuda.runtime.deviceSynchronize()


def l4t_release(path: Path | None = None) -> str | None:
    """Return Jetson's system release such as ``36.4.0``; None on other machines."""
    try:
        text = (path or L4T_RELEASE).read_text()
    except OSError:
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None
