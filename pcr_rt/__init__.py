"""PCR-RT: people's keypoints in real time, from networks that you can train, export and run.

The public names are loaded on first use, so that ``import pcr_rt`` stays cheap.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcr_rt.errors import DataError, InputError, MissingDependencyError, ModelError, PoseError
    from pcr_rt.inference.estimator import PoseEstimator
    from pcr_rt.models import ModelSpec
    from pcr_rt.poses import Poses
    from pcr_rt.skeleton import Skeleton
    from pcr_rt.streaming.pipeline import PoseStream

__all__ = [
    "DataError",
    "InputError",
    "MissingDependencyError",
    "ModelError",
    "ModelSpec",
    "PoseError",
    "PoseEstimator",
    "PoseStream",
    "Poses",
    "Skeleton",
    "__version__",
]

_HOMES = {
    "PoseEstimator": "inference.estimator",
    "PoseStream": "streaming.pipeline",
    "Poses": "poses",
    "Skeleton": "skeleton",
    "ModelSpec": "models",
    "PoseError": "errors",
    "InputError": "errors",
    "ModelError": "errors",
    "DataError": "errors",
    "MissingDependencyError": "errors",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("pcr-rt")
    if name in _HOMES:
        return getattr(importlib.import_module(f"pcr_rt.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pcr_rt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
