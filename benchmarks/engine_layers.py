"""Layers of the shipped models after TensorRT-RTX has fused them: what a GPU has to launch.

Usage: python benchmarks/engine_layers.py [--models pcr-tiny pcr-lite pcr-nano] [--output JSON]

Builds each model's FP16 file for SM86, batch 1 to 16, which needs the package tensorrt-rtx-cu13 and
no GPU, and counts the layers in the builder's own list. Waits and signals between streams are left
out; so is all that depends on a GPU: which kernels run, and how long.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

import tensorrt_rtx as trt
from common import machine, write_json

from pcr_rt.models import model_path

LAYER = re.compile(r"^Name: .*?, LayerType: (\w+)", re.MULTILINE)
NO_WORK = {"signal", "wait", "shape_call"}


class Journal(trt.ILogger):  # type: ignore[misc]
    """Keeps every message of the builder."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def log(self, severity: Any, message: str) -> None:
        self.text += message + "\n"


def layers(model: Path) -> dict[str, int]:
    """Number of layers by the builder's name for their kind."""
    journal = Journal()
    builder = trt.Builder(journal)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, journal)
    if not parser.parse_from_file(str(model)):
        raise SystemExit(f"{model} cannot be parsed: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    entry = network.get_input(0)
    shape = tuple(entry.shape)[1:]
    profile.set_shape(entry.name, (1, *shape), (4, *shape), (16, *shape))
    config.add_optimization_profile(profile)
    if builder.build_serialized_network(network, config) is None:
        raise SystemExit(f"{model} cannot be built: {journal.text.splitlines()[-1]}")
    found = Counter(LAYER.findall(journal.text))
    return {kind: count for kind, count in sorted(found.items()) if kind not in NO_WORK}


def main() -> None:
    """Build, count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["pcr-tiny", "pcr-lite", "pcr-nano"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = {}
    for name in options.models:
        kinds = layers(model_path(name, "fp16"))
        rows[name] = {"layers": sum(kinds.values()), **kinds}
        print(name, rows[name])
    record = {"machine": machine(), "tensorrt_rtx": trt.__version__, "sm86, fp16": rows}
    write_json(options.output, record)


if __name__ == "__main__":
    main()
