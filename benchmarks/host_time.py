"""Microseconds that Python and NumPy take for a frame on a GPU, with a GPU that does nothing.

Usage: python benchmarks/host_time.py [--against CHECKOUT] [--turns 15] [--output JSON]

The first calls run in full on the emulated device (g++ needed), so that the buffers hold real
people. From then on launches, graphs, copies, waits and networks do nothing, and what is left of a
call is the host's work. --against: another checkout of this repository, measured in turns with this
one, since only ratios of the same minutes can be trusted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import describe, machine, write_json

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = (1, 8, 16)
CALLS = 200
"""Of which a turn gives the median."""


def detector_model(path: Path, people: int) -> Path:
    """Write a detector that finds people of 14 x 18 pixels, three side by side, in 64 x 128."""
    from pcr_rt.models import ModelSpec
    from toys import constant_model

    size = (64, 128)
    rows = np.zeros((1, 168, 85), np.float32)
    for i in range(people):
        x, y = 12 + 19 * (i % 3), 12 + 20 * (i // 3)
        rows[0, i, :6] = (x / 8 - i % 8, y / 8 - i // 8, np.log(14 / 8), np.log(18 / 8), 0.9, 0.9)
    spec = ModelSpec("finder", "boxes", size, (0, 0, 0), (1, 1, 1), colour="bgr", layout="yolox")
    return constant_model(path, spec, size, [rows])


def calls(folder: Path) -> dict[str, Callable[[], Any]]:
    """Make the calls that are measured, of the ``pcr_rt`` that is imported, all of them warm."""
    import emulated_cupy as cupy
    from emulation import compile_kernels
    from pcr_rt import PoseEstimator, cuda_kernels
    from pcr_rt.models import ModelSpec
    from stand_in_engine import StandInBinding, StandInEngine
    from toys import PLAIN, brightness_model

    try:
        from pcr_rt.inference.detector import Detector
    except ImportError:  # before the modules were moved into rooms
        from pcr_rt.detectors import Detector  # type: ignore[import-not-found, no-redef]

    sys.modules["cupy"] = cupy
    sources = Path(str(cuda_kernels.__file__)).parent
    cupy.load(str(compile_kernels(folder / "kernels.so", sources, sanitizers=())))
    toy = ModelSpec("toy", "heatmap", (24, 32), person_score="mean>0.2", **PLAIN)
    models = {"raw": brightness_model(folder / "raw.onnx", toy, size=(24, 32))}
    if hasattr(toy, "calibration"):
        from pcr_rt.calibration import Calibration

        curve = tuple((i / 20, i / 20) for i in range(21))
        spec = replace(toy, calibration=Calibration(curve, curve))
        models["probabilities"] = brightness_model(folder / "p.onnx", spec, size=(24, 32))
    y, x = np.mgrid[0:128, 0:64]
    frame = cupy.asarray(np.repeat((60 + x + y)[..., None], 3, axis=2).astype(np.uint8))

    found: dict[str, Callable[[], Any]] = {}
    for kind, model in models.items():
        for mode in ("graph", "eager"):
            for people in PEOPLE:
                pose = StandInEngine(model, max_batch=16, capturable=mode == "graph")
                finder = StandInEngine(
                    detector_model(folder / "finder.onnx", people),
                    max_batch=1,
                    capturable=mode == "graph",
                )
                estimator = PoseEstimator(pose, detector=Detector(finder), score_threshold=0.01)
                boxes = estimator(frame).boxes.astype(float)
                assert len(boxes) == people
                ways = {
                    "boxes given": lambda e=estimator, b=boxes: e(frame, b),
                    "detector": lambda e=estimator: e(frame),
                }
                for way, call in ways.items():
                    for _ in range(3):  # eager, recorded, again
                        assert len(call()) == people
                    found[f"{kind}, {mode}, {way}, {people}"] = call

    nothing = lambda *arguments, **options: None  # noqa: E731
    cupy.RawKernel.__call__ = cupy.Graph.launch = cupy.Stream.synchronize = nothing
    cupy.cuda.runtime.memcpyAsync = StandInBinding.enqueue = nothing
    return found


def serve() -> None:
    """Measure one turn for each line that comes in, and write one line of name=value pairs."""
    with tempfile.TemporaryDirectory() as folder:
        every = calls(Path(folder))
        for _ in sys.stdin:
            medians = []
            for name, call in every.items():
                times = []
                for _ in range(CALLS):
                    start = time.perf_counter()
                    call()
                    times.append((time.perf_counter() - start) * 1e6)
                medians.append(f"{name}={np.median(times)}")
            print(";".join(medians), flush=True)


class Tree:
    """A process that measures one checkout."""

    def __init__(self, tree: Path, links: Path) -> None:
        # As the package lies when it is installed.
        (links / "pcr_rt").mkdir(parents=True)
        for source in (*(tree / "pcr_rt").iterdir(), tree / "cuda_kernels", tree / "export"):
            (links / "pcr_rt" / source.name).symlink_to(source.resolve())
        places = (links, ROOT / "tests" / "support")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
        )

    def turn(self) -> dict[str, float]:
        """Give the median of each call in microseconds."""
        entry, answers = self.process.stdin, self.process.stdout
        assert entry is not None
        assert answers is not None
        entry.write("\n")
        entry.flush()
        pairs = (pair.rpartition("=") for pair in answers.readline().strip().split(";"))
        return {name: float(value) for name, _, value in pairs}

    def close(self) -> None:
        self.process.communicate()


def commit(tree: Path) -> str:
    """Give the commit of a checkout."""
    command = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout, measured in turns")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    trees = {"now": ROOT} | ({"before": options.against} if options.against else {})
    record: dict[str, Any] = {"machine": machine(), "turns": options.turns, "calls": CALLS}
    record["commits"] = {name: commit(tree) for name, tree in trees.items()}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        processes = {}
        for name, tree in trees.items():
            processes[name] = Tree(tree, Path(folder) / name)
            stack.callback(processes[name].close)
        turns = [{n: p.turn() for n, p in processes.items()} for _ in range(options.turns)]
    rows = record["microseconds"] = {}
    for name in turns[0]["now"]:
        row = rows[name] = {"now": describe([t["now"][name] for t in turns])}
        if name in turns[0].get("before", {}):
            row["before"] = describe([t["before"][name] for t in turns])
            row["ratio"] = describe([t["now"][name] / t["before"][name] for t in turns])
        print(name, {key: value["median"] for key, value in row.items()}, flush=True)
    write_json(options.output, record)


if __name__ == "__main__":
    main()
