"""The machine in words that make figures comparable, and the memory of this process."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from pcr_rt.engines.cpu import processor, usable_cores
from pcr_rt.engines.gpu import look_for_gpus

__all__ = ["describe_machine", "resident_mib"]

PACKAGES = (
    "pcr-rt",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "torch",
)
STATM = Path("/proc/self/statm")


def describe_machine() -> dict[str, Any]:
    """Describe processor, GPUs, usable cores, load before the run, and the versions that count."""
    found = processor()
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": found.name,
        "features": None if found.features is None else list(found.features),
        "cores": usable_cores(),
        "gpus": look_for_gpus().names,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


def resident_mib() -> float | None:
    """Give the MiB of memory that this process holds now; None if the system does not say."""
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
