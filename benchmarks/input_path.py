"""How many crops a second the input path gives, and how many a training step takes.

Usage: python benchmarks/input_path.py ANNOTATIONS IMAGES [--recipe pcr-tiny] [--output JSON]

Three rates on the same machine, in crops a second: reading (files to augmented uint8 crops, by 1
and 2 threads), preparing on the device (colour, erasing, normalisation, targets), and whole
training steps of the recipe's network without reading. The input path is no bottleneck if
reading and preparing are each faster than the steps.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, write_json
from torch import nn

from pcr_rt.training.data.augment import photometric
from pcr_rt.training.data.coco import read_people
from pcr_rt.training.data.input import normalise
from pcr_rt.training.data.loader import Batch, Loader, View
from pcr_rt.training.data.person import Person
from pcr_rt.training.data.targets import draw_heatmaps, sigma_for, to_heatmap
from pcr_rt.training.loss import StepLoss
from pcr_rt.training.networks.maps import heatmap_size
from pcr_rt.training.networks.registry import build
from pcr_rt.training.optimisation import freeze, make_optimizer
from pcr_rt.training.recipe import Recipe, Stage, load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--recipe", default="pcr-tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    recipe = load_recipe(options.recipe)
    people = read_people(options.annotations, options.images)
    network = build(recipe.network).to(options.device)
    rows = []
    for stage in recipe.stage:
        rows.append(measure(network, recipe, stage, people, options))
        print(json.dumps(rows[-1]), flush=True)
    report = {
        "command": f"python benchmarks/input_path.py ANNOTATIONS IMAGES --recipe {options.recipe}",
        "device": options.device,
        "machine": machine(),
        "unit": "crops a second: median, lowest and highest batch",
        "batch": options.batch,
        "rows": rows,
    }
    print(json.dumps(report, indent=2))
    write_json(options.output, report)


def measure(
    network: nn.Module,
    recipe: Recipe,
    stage: Stage,
    people: list[Person],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Measure the three rates at a stage's input size."""
    heatmap = heatmap_size(network.eval(), stage.size)
    view = View(stage.size, heatmap, recipe.input.transform, recipe.augmentation)
    row: dict[str, Any] = {"size": list(stage.size)}
    for threads in (1, 2):
        loader = Loader(people, view, batch=options.batch, seed=0, threads=threads)
        batches = loader.batches(0, 10**9)
        row[f"reading_{threads}"] = rate(lambda batches=batches: next(batches), options)
    batch = next(Loader(people, view, batch=options.batch, seed=0).batches(0, 1))
    batch = Batch(*(tensor.to(options.device) for tensor in batch))
    generator = torch.Generator().manual_seed(0)

    def prepare() -> None:
        images = batch.images.permute(0, 3, 1, 2).float()
        normalise(photometric(images, view.augmentation, generator), recipe.input)
        points = to_heatmap(batch.points, view.size, view.heatmap, view.transform)
        draw_heatmaps(points, batch.amplitudes, view.heatmap, sigma_for(view.heatmap))
        wait(options.device)

    freeze(network, stage, recipe.optimizer)
    optimizer = make_optimizer(network, stage, recipe.optimizer)
    step_loss = StepLoss(recipe, view, None)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        step_loss(network, batch, 0).backward()
        optimizer.step()
        wait(options.device)

    row["preparing"] = rate(prepare, options)
    row["step"] = rate(step, options)
    return row


def rate(work: Callable[[], object], options: argparse.Namespace) -> list[float]:
    """Time ``work`` on a batch in crops per second: median, lowest, highest; one call warms up."""
    work()
    took = []
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end or len(took) < 3:
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    rates = options.batch / np.array(took)
    return [round(float(v), 1) for v in (np.median(rates), rates.min(), rates.max())]


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
