"""Accuracy against time: AP with labelled boxes and the network's time on one CPU thread.

    python benchmarks/pareto.py ANNOTATIONS IMAGES UNIT MODEL ... [--rounds 60]
        [--output JSON] [--diagram PNG]

UNIT is the file whose time is 1 (PP-TinyPose 256x192, ONNX). A MODEL is the name of a shipped one
or an .onnx file, with @WIDTHxHEIGHT at another input size (the same weights, not fine-tuned; sides
are multiples of 32), with +flip averaged with the mirrored crop, and with LABEL= before it under
another name: pcr-tiny, pcr-tiny@160x224, pcr-nano+flip, "two levels=old.onnx".

Times: processor time of one crop (two with flip test) in ONNX Runtime on one thread, all networks
in turns; ratios to UNIT in the same round, with quartiles. AP: difference to UNIT with a 95 %
interval, paired bootstrap over the images. On the curve are models that no quicker one equals.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from common import machine, write_json

from pcr_rt import PoseEstimator
from pcr_rt.coco.annotations import load_annotations
from pcr_rt.coco.evaluation import bootstrap_difference, evaluate
from pcr_rt.geometry import Size
from pcr_rt.models import model_path

WARM_UP = 5
UNIT = "PP-TinyPose"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A point of the diagram."""

    label: str
    file: Path
    flip_test: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("unit", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--diagram", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        entries = [Entry(UNIT, asked.unit, False)]
        entries += [read_entry(text, Path(folder)) for text in asked.models]
        ratios = time_in_turns([network(e.file, 1 + e.flip_test) for e in entries], asked.rounds)
        found = []
        for entry in entries:
            with PoseEstimator(
                entry.file,
                detector=None,
                device="cpu",
                score_threshold=0,
                nms=None,
                flip_test=entry.flip_test,
            ) as estimator:
                found.append(evaluate(estimator, asked.annotations, asked.images))
            print(f"{entry.label}: AP {found[-1][0].ap:.3f}", flush=True)
    annotations = load_annotations(asked.annotations)
    rows: dict[str, dict[str, Any]] = {}
    for entry, ratio, (ap, results) in zip(entries, ratios, found, strict=True):
        low, middle, high = np.percentile(ratio, [25, 50, 75]).round(3).tolist()
        rows[entry.label] = {
            "ratio": middle,
            "quartiles": [low, high],
            "ap": round(ap.ap, 4),
            "minus_unit": [
                round(value, 4) for value in bootstrap_difference(annotations, results, found[0][1])
            ],
        }
    names = on_the_curve({name: (row["ratio"], row["ap"]) for name, row in rows.items()})
    for name, row in rows.items():
        row["on_the_curve"] = name in names
    write_json(asked.output, {"machine": machine(), "rounds": asked.rounds, "models": rows})
    print(markdown(rows))
    if asked.diagram is not None:
        draw(rows, asked.diagram)


def read_entry(text: str, folder: Path) -> Entry:
    """Read [LABEL=]MODEL[@WIDTHxHEIGHT][+flip]; a file of another input size goes to ``folder``."""
    label, _, model = text.rpartition("=")
    wanted = re.fullmatch(r"(.+?)(?:@(\d+)x(\d+))?(\+flip)?", model)
    assert wanted is not None
    name, width, height, flip = wanted.groups()
    file = model_path(name)
    if width is not None:
        size = (int(width), int(height))
        file = resized(file, size, folder / f"{file.stem}-{width}x{height}.onnx")
    return Entry(label or model.replace("+flip", ", flip test"), file, flip is not None)


def resized(file: Path, size: Size, output: Path) -> Path:
    """Write the network of a shipped model for crops of ``size`` (w, h), with the same weights."""
    from pcr_rt.export.compare import fp32_spec
    from pcr_rt.export.onnx_export import export_onnx
    from pcr_rt.training.checkpoints.exported import load_exported
    from pcr_rt.training.data.input import Input
    from pcr_rt.training.networks.encoder import check_input_size
    from pcr_rt.training.networks.registry import PRESETS, build

    spec = fp32_spec(file)
    network = build(PRESETS[spec.name]).eval()
    check_input_size(network, size)
    load_exported(network, file, Input(transform=spec.transform))
    export_onnx(network, dataclasses.replace(spec, input_size=size), output)
    return output


def network(file: Path, crops: int) -> Callable[[], Any]:
    """Return what runs a model file once on so many crops, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    noise = np.random.default_rng(0).normal(size=(crops, *images.shape[1:])).astype(np.float32)
    return lambda: session.run(None, {images.name: noise})


def time_in_turns(runs: Sequence[Callable[[], Any]], rounds: int) -> np.ndarray:
    """Run everything once a round; return ratios to the first one, (runs, rounds)."""
    times = np.empty((len(runs), rounds + WARM_UP))
    for turn in range(rounds + WARM_UP):
        for i, run in enumerate(runs):
            start = time.thread_time()
            run()
            times[i, turn] = time.thread_time() - start
    return (times / times[0])[:, WARM_UP:]


def on_the_curve(points: dict[str, tuple[float, float]]) -> list[str]:
    """Name the points (time, AP) than which none is quicker, or as quick, with as much AP."""
    return [
        name
        for name, (ratio, ap) in points.items()
        if not any(
            other != (ratio, ap) and other[0] <= ratio and other[1] >= ap
            for other in points.values()
        )
    ]


def markdown(rows: dict[str, dict[str, Any]]) -> str:
    """Write the rows as a table, the quickest first."""
    lines = [
        "| | time, PP-TinyPose = 1 | AP | to PP-TinyPose | on the curve |",
        "|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["ratio"]):
        low, high = row["quartiles"]
        minus = "{:+.3f} ({:+.3f} to {:+.3f})".format(*row["minus_unit"])
        lines.append(
            f"| {name} | {row['ratio']:.2f} ({low:.2f} to {high:.2f}) | {row['ap']:.3f} | {minus} |"
            f" {'yes' if row['on_the_curve'] else ''} |"
        )
    return "\n".join(lines)


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw AP against time, with the curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.5))
    axis = figure.subplots()
    best = sorted((r["ratio"], r["ap"]) for r in rows.values() if r["on_the_curve"])
    axis.plot(*zip(*best, strict=True), color="0.8", zorder=0)
    for name, row in rows.items():
        point = (row["ratio"], row["ap"])
        axis.scatter(*point, s=24, color="tab:blue" if row["on_the_curve"] else "0.5")
        # Names of the curve above it; PP-TinyPose, which others come close to, below.
        above = row["on_the_curve"] and name != UNIT
        axis.annotate(
            name,
            point,
            (-5, 4) if above else (5, -9),
            textcoords="offset points",
            size=8,
            horizontalalignment="right" if above else "left",
        )
    axis.set(
        xlabel="time of the network, PP-TinyPose = 1", ylabel="AP, labelled boxes", xlim=(0, None)
    )
    axis.margins(x=0.15, y=0.1)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    print(path)


if __name__ == "__main__":
    main()
