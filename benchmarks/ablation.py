"""What SE, HDC, AD, levels and hard negatives do for a small PCR, with an equal budget each.

Usage: python benchmarks/ablation.py DATA TINYPOSE [--steps 300] [--seeds 2] [--output JSON]

DATA holds coco_train.json and coco_train/ (and lsp/, unless --without-lsp); TINYPOSE is the file of
PP-TinyPose (ONNX). Its encoder is frozen, and its features of a fixed set of augmented views are
computed once; the rows differ in their decoders only, which see the same views in the same order
for the same number of steps. Images with id % 5 == 0 are held out: AP with ground-truth boxes.

The auxiliary head (AD) stands on the penultimate module. With one module a decoder that is the
frozen encoder, so AD trains nothing but itself there: it needs ``--modules 2``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, write_json
from torch import Tensor, nn

from pcr_rt.coco.annotations import load_annotations
from pcr_rt.coco.evaluation import evaluate
from pcr_rt.inference.detector import Detector
from pcr_rt.inference.estimator import PoseEstimator
from pcr_rt.media import read_image
from pcr_rt.models import IMAGENET_MEAN, IMAGENET_STD, ModelSpec
from pcr_rt.training.data.augment import Augmentation
from pcr_rt.training.data.datasets import DataSet, in_fold, people_from
from pcr_rt.training.data.hard_negatives import detect, read_hard_negatives
from pcr_rt.training.data.loader import Loader, View
from pcr_rt.training.data.person import Person
from pcr_rt.training.data.targets import draw_heatmaps, sigma_for, to_heatmap, weights_inside
from pcr_rt.training.loss import pose_loss
from pcr_rt.training.networks.encoder import Encoder
from pcr_rt.training.networks.lite_hrnet import LiteHRNetEncoder, load_tinypose
from pcr_rt.training.networks.maps import PoseMaps
from pcr_rt.training.networks.pcr import PCR
from pcr_rt.training.optimisation import averaged
from pcr_rt.training.torch_engine import TorchEngine

ROWS: dict[str, dict[str, Any]] = {
    "none": {},
    "SE": {"se": True},
    "HDC": {"hdc": True},
    "AD": {"auxiliary": True},
    "SE + HDC": {"se": True, "hdc": True},
    "SE + AD": {"se": True, "auxiliary": True},
    "HDC + AD": {"hdc": True, "auxiliary": True},
    "all": {"se": True, "hdc": True, "auxiliary": True},
    "all, L = 2": {"se": True, "hdc": True, "auxiliary": True, "levels": 2},
    "all, L = 3": {"se": True, "hdc": True, "auxiliary": True, "levels": 3},
    "all, HNDM": {"se": True, "hdc": True, "auxiliary": True, "negatives": True},
}
COCO = ("coco_train.json", "coco_train")
BATCH, NEGATIVES = 16, 2
RATE, EMA = 2e-3, 0.99
MIN_SCORE = 0.2
AUGMENTATION = Augmentation(rotation=30, scale=0.25, half_body=0.2)


class Passed(Encoder):
    """Features come from the cache: the encoder of a PCR that reads them as they are."""

    channels, stride = LiteHRNetEncoder.channels, LiteHRNetEncoder.stride

    def forward(self, x: Tensor) -> Tensor:
        return x


@dataclass
class Cache:
    """Features (N, C, h, w) float16 of views, with their points, amplitudes and weights."""

    features: Tensor
    points: Tensor
    amplitudes: Tensor
    weights: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("tinypose", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--modules", type=int, default=1, help="context-aware modules a decoder")
    parser.add_argument("--views", type=int, default=4, help="augmented views a person")
    parser.add_argument("--people", type=int, help="use the first people of each set only")
    parser.add_argument("--images", type=int, help="validate on the first images only")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), help="input width, height")
    parser.add_argument("--without-lsp", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    begin = time.perf_counter()
    size = (options.size[0], options.size[1])
    view = View(size, (size[0] // 4, size[1] // 4), "msra", AUGMENTATION)
    encoder = LiteHRNetEncoder().eval()
    load_tinypose(encoder, options.tinypose)

    sets = [DataSet(*COCO, fold="train", min_keypoints=3)]
    if not options.without_lsp:
        sets.append(DataSet("lsp/lsp.json", "lsp/images", format="lsp", weight=0.5))
    # Of the large set of single people every fourth.
    people = []
    for source, step in zip(sets, (1, 4), strict=False):
        people += people_from(source, options.data, "refuse")[::step][: options.people]
    false_boxes = find_false_boxes(options.data)
    negatives = in_fold(false_boxes, "train")[: options.people]
    cache = remember(encoder, people, view, options.views)
    empty = remember(encoder, negatives, view, options.views)
    held_out = in_fold(false_boxes, "dev")[: options.images]
    records = load_annotations(options.data / COCO[0])["images"]
    ids = [r["id"] for r in records if r["id"] % 5 == 0][: options.images]

    table = {}
    for name in options.rows:
        row = {**ROWS[name], "channels": [48] * options.modules}
        runs = []
        for seed in range(options.seeds):
            network = train(row, cache, empty, view, options.steps, seed)
            network.encoder = encoder
            runs.append(measure(network.eval(), view, options.data, ids, held_out))
        table[name] = {
            "parameters": sum(p.numel() for p in network.parameters())
            - sum(p.numel() for p in encoder.parameters()),
            "ap": [run["ap"] for run in runs],
            "false_box_peak": [run["false_box_peak"] for run in runs],
        }
        print(name, json.dumps(table[name]), flush=True)
    report = {
        "command": f"python benchmarks/ablation.py DATA TINYPOSE --steps {options.steps}"
        f" --seeds {options.seeds} --modules {options.modules}",
        "machine": machine(),
        "minutes": round((time.perf_counter() - begin) / 60, 1),
        "views": len(cache.features),
        "size": list(size),
        "batch": BATCH,
        "rows": table,
    }
    write_json(options.output, report)
    print(markdown(table))


def find_false_boxes(data: Path) -> list[Person]:
    """Find RTMDet-nano's boxes on the training images that touch nobody."""
    files = data / COCO[0], data / COCO[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.json"
        path.write_text(json.dumps(detect(Detector("rtmdet-nano"), *files, min_score=MIN_SCORE)))
        return read_hard_negatives(*files, detections=path, min_score=MIN_SCORE)


def remember(encoder: nn.Module, people: list[Person], view: View, views: int) -> Cache:
    """Run the frozen encoder once on ``views`` augmented views of each person."""
    batch = min(BATCH, len(people))
    count = views * len(people) // batch
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    parts = []
    for taken in Loader(people, view, batch=batch, seed=0, threads=2).batches(0, count):
        with torch.inference_mode():
            images = (taken.images.permute(0, 3, 1, 2).float() - mean) / std
            parts.append((encoder(images).half(), taken.points, taken.amplitudes, taken.weights))
    return Cache(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def train(
    row: dict[str, Any], cache: Cache, empty: Cache, view: View, steps: int, seed: int
) -> PCR:
    """Train the decoders of a row for ``steps`` steps on the cached views; their average."""
    options = {"levels": 1, "se": False, "hdc": False, "auxiliary": False, **row}
    negatives = options.pop("negatives", False) * NEGATIVES
    torch.manual_seed(seed)
    network = PCR(Passed(), stride=1, **options).train()
    average = averaged(network, EMA)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    rng = np.random.default_rng(seed)
    points = to_heatmap(torch.cat([cache.points, empty.points]), view.size, view.heatmap, "msra")
    amplitudes = torch.cat([cache.amplitudes, empty.amplitudes])
    weights = torch.cat([cache.weights, empty.weights])
    sigma = sigma_for(view.heatmap)
    for step in range(steps):
        # The same people in the same order in every row; negatives take the last places.
        chosen = rng.integers(len(cache.features), size=BATCH)
        extra = rng.integers(len(empty.features), size=NEGATIVES)
        if negatives:
            chosen[-negatives:] = len(cache.features) + extra
        index = torch.from_numpy(chosen)
        own = index[: BATCH - negatives]
        features = [cache.features[own]]
        if negatives:
            features.append(empty.features[torch.from_numpy(extra)])

        def targets(size: tuple[int, int], index: Tensor = index) -> tuple[Tensor, Tensor]:
            maps = draw_heatmaps(points[index], amplitudes[index], size, sigma)
            return maps, weights_inside(points[index], weights[index], size, sigma)

        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + np.cos(np.pi * step / steps)) / 2
        output: PoseMaps = network(torch.cat(features).float())
        loss = pose_loss(output, {size: targets(size) for size in output.sizes()})
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
    return average.module


def measure(
    network: nn.Module, view: View, data: Path, ids: list[int], held_out: list[Person]
) -> dict[str, float]:
    """Measure AP with ground-truth boxes and the mean peak in false boxes, on held-out images."""
    spec = ModelSpec(
        "ablation",
        "heatmap",
        view.size,
        IMAGENET_MEAN,
        IMAGENET_STD,
        transform="msra",
        sigma=sigma_for(view.heatmap),
    )
    engine = TorchEngine(network, spec)
    estimator = PoseEstimator(engine, detector=None, score_threshold=0, nms=None)
    ap = evaluate(estimator, data / COCO[0], data / COCO[1], image_ids=ids)[0].ap
    peaks = [
        estimator(read_image(p.image), boxes=p.box[None]).keypoint_scores.max(initial=0)
        for p in held_out
    ]
    peak = float(np.mean(peaks)) if peaks else float("nan")
    return {"ap": round(ap, 4), "false_box_peak": round(peak, 4)}


def markdown(table: dict[str, Any]) -> str:
    """Write the rows as a table, with the mean and the lowest and highest of the seeds."""
    lines = ["| row | decoder parameters | AP | peak in false boxes |", "|---|---|---|---|"]
    for name, row in table.items():
        cells = [
            f"{np.mean(row[key]):.3f} ({min(row[key]):.3f} to {max(row[key]):.3f})"
            for key in ("ap", "false_box_peak")
        ]
        lines.append(f"| {name} | {row['parameters']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
