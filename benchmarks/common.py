"""What the benchmarks share: statistics, the machine in words, the result file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "torch")


def describe(values: Sequence[float]) -> dict[str, float]:
    """Give median, smallest, largest and 95th percentile."""
    array = np.asarray(values, dtype=float)
    found = {
        "median": np.median(array),
        "min": array.min(),
        "max": array.max(),
        "p95": np.percentile(array, 95),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def machine() -> dict[str, Any]:
    """Describe processor, usable cores, load before the run, and the versions that count."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write the result if a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")
        print(path)


def only(annotations: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Reduce COCO annotations to those of some of their images."""
    kept = {image["id"] for image in images}
    people = [a for a in annotations["annotations"] if a["image_id"] in kept]
    return {**annotations, "images": list(images), "annotations": people}
