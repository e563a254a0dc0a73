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

from common import machine, write_json

from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.api import Api, load, logger
from pcr_rt.engines.tensorrt.builder import BuildOptions, build_plan
from pcr_rt.models import model_path

LAYER = re.compile(r"^Name: .*?, LayerType: (\w+)", re.MULTILINE)
NO_WORK = {"signal", "wait", "shape_call"}


def layers(api: Api, name: str) -> dict[str, int]:
    """Count layers by the builder's name for their kind."""
    said: list[str] = []
    # The journal drops what is VERBOSE, and the list of layers is.
    logger(api).journal.write = lambda severity, message: said.append(message)
    spec = OnnxRuntimeEngine(name, device="cpu", precision="fp16").spec
    build_plan(api, model_path(name, "fp16"), spec, BuildOptions(targets=("sm86",)))
    found = Counter(LAYER.findall("\n".join(said)))
    return {kind: count for kind, count in sorted(found.items()) if kind not in NO_WORK}


def main() -> None:
    """Build, count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["pcr-tiny", "pcr-lite", "pcr-nano"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    api = load("TensorRT-RTX")
    rows = {}
    for name in options.models:
        kinds = layers(api, name)
        rows[name] = {"layers": sum(kinds.values()), **kinds}
        print(name, rows[name], flush=True)
    record = {"machine": machine(), "tensorrt_rtx": api.version, "sm86, fp16": rows}
    write_json(options.output, record)


if __name__ == "__main__":
    main()
