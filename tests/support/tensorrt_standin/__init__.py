"""The contract of TensorRT's Python API, version by version, with ONNX Runtime inside.

Names that a version does not have raise AttributeError; calls out of order fail as TensorRT's do:
they log an error and return None, False or -1. Memory is the emulated device's.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import emulated_cupy
from tensorrt_standin.building import building
from tensorrt_standin.running import running
from tensorrt_standin.version import ILogger, Version

NAMES_FILE = Path(__file__).with_name("names.txt")
VERSIONS = ["8.6.1", "10.0.1", "10.3.0", "10.7.0", "10.13.3.9", "10.16.1.11", "11.4.0.106"]
VERSIONS += ["rtx-1.7.1"]
ENUMERATIONS = (
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "LayerType",
    "MemoryPoolType",
    "PreviewFeature",
    "ProfilingVerbosity",
    "ComputeCapability",
    "LayerInformationFormat",
    "TensorIOMode",
    "DataType",
    "CudaGraphStrategy",
    "ExecutionContextAllocationStrategy",
)


def names_of(version: str) -> set[str]:
    """List the names that a version of the API has, as ``Class.member``."""
    found = set()
    for line in NAMES_FILE.read_text().splitlines():
        name, *versions = line.split()
        if name != "#" and (versions == ["*"] or version in versions):
            found.add(name)
    return found


class Module(ModuleType):
    """A stand-in module; attributes that the version does not have raise AttributeError."""


def install(monkeypatch: Any, version: str) -> Any:
    """Make ``import tensorrt`` (or ``tensorrt_rtx``) give the stand-in; the other is not there.

    The emulated CuPy becomes ``cupy`` with one GPU. Returns the module, whose ``behaviour`` is
    what tests may change.
    """
    is_rtx = version.startswith("rtx")
    module = make(version)
    monkeypatch.setitem(sys.modules, "tensorrt", None if is_rtx else module)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module if is_rtx else None)
    monkeypatch.setitem(sys.modules, "cupy", emulated_cupy)
    gpu = {"name": b"Orin", "major": 8, "minor": 7, "multiProcessorCount": 16}
    gpu["totalGlobalMem"] = 8 << 30
    runtime = emulated_cupy.cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceCount", lambda: 1)
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda i: dict(gpu), raising=False)
    module.behaviour.gpu = gpu
    return module


def make(version: str) -> Any:
    """Make the module of a version."""
    names = names_of(version)
    module: Any = Module("tensorrt_rtx" if version.startswith("rtx") else "tensorrt")
    module.__version__ = version.removeprefix("rtx-")
    behaviour = SimpleNamespace(builds=0, distort=np.copy, types=None, contexts=0, has_driver=True)
    behaviour.freed_at_work, behaviour.builds_engines = 0, True
    module.behaviour = behaviour

    for kind in ENUMERATIONS:
        if kind in names:
            members = [n.partition(".")[2] for n in names if n.startswith(f"{kind}.")]
            members = sorted(m for m in members if m not in ("name", "value"))
            setattr(module, kind, IntEnum(kind, members, start=0))

    api = Version(version, names, module, behaviour)
    for thing in (ILogger, *building(api), running(api)):
        setattr(module, thing.__name__, thing)
    if "IProgressMonitor" in names:
        module.IProgressMonitor = type("IProgressMonitor", (), {})
    return module
