"""A teacher's heatmaps of the very view that the student sees, on the student's grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pcr_rt.engines import Engine
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import DataError
from pcr_rt.geometry import Size, Transform, heatmap_to_input

__all__ = ["Teacher", "load_teacher"]


class Teacher:
    """An engine that gives heatmaps of augmented views, whatever its own size and convention.

    Student and teacher see the same region of the picture, each sampled by its own convention
    (``udp`` or ``msra``); maps are read by linear interpolation where the student's samples lie.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.spec.kind != "heatmap":
            raise DataError(
                f"The teacher {engine.spec.name!r} gives {engine.spec.kind}, not heatmaps: name"
                " another model."
            )
        self.engine, self.spec = engine, engine.spec

    def maps(self, images: Tensor, transform: Transform) -> Tensor:
        """The teacher's heatmaps (N, K, h, w), on its own grid.

        images: the student's views (N, 3, H, W), RGB 0..255; transform: their convention.
        """
        spec = self.spec
        seen = (images.shape[3], images.shape[2])
        # Input pixel u of the teacher shows what lies at pixel u x step of the student's view.
        step = _span(seen, transform) / _span(spec.input_size, spec.transform)
        view = _read(images, step, spec.input_size)
        if spec.colour == "bgr":
            view = view.flip(1)
        mean = torch.tensor(spec.mean, device=view.device).view(1, 3, 1, 1)
        std = torch.tensor(spec.std, device=view.device).view(1, 3, 1, 1)
        found = self.engine.run(((view - mean) / std).cpu().numpy())[0]
        return torch.from_numpy(np.asarray(found, dtype=np.float32)).to(images.device)

    def on_grid(self, maps: Tensor, size: Size, heatmap: Size, transform: Transform) -> Tensor:
        """Maps of ``maps`` on a student's grid ``heatmap`` = (w, h) of a view ``size`` = (w, h)."""
        own = (maps.shape[3], maps.shape[2])
        student = heatmap_to_input(heatmap, size, transform) / _span(size, transform)
        teacher = heatmap_to_input(own, self.spec.input_size, self.spec.transform) / _span(
            self.spec.input_size, self.spec.transform
        )
        return _read(maps, student / teacher, heatmap)


def load_teacher(path: Path, device: str) -> Teacher:
    """The teacher of a model file (.onnx), a checkpoint or the folder of a run."""
    if path.suffix == ".onnx":
        return Teacher(OnnxRuntimeEngine(path, device=device))
    from pcr_rt.export.checkpoint import network_and_spec
    from pcr_rt.training.torch_engine import TorchEngine

    network, spec = network_and_spec(path / "best.pt" if path.is_dir() else path)
    return Teacher(TorchEngine(network.to(device), spec))


def _span(size: Size, transform: Transform) -> np.ndarray:
    """Pixel steps across a region, (2,) as (x, y): W - 1 under ``udp``, W under ``msra``."""
    return np.array(size, dtype=np.float64) - (transform == "udp")


def _read(images: Tensor, step: np.ndarray, size: Size) -> Tensor:
    """``images`` at positions (i x step_x, j x step_y), linearly; places outside read the border.

    size: (w, h) of the result.
    """
    width, height = images.shape[3], images.shape[2]
    if size == (width, height) and np.allclose(step, 1):
        return images
    # grid_sample's -1 and 1 are the first and last sample with align_corners.
    x = torch.arange(size[0], device=images.device) * (2 * step[0] / max(width - 1, 1)) - 1
    y = torch.arange(size[1], device=images.device) * (2 * step[1] / max(height - 1, 1)) - 1
    rows, columns = torch.meshgrid(y.float(), x.float(), indexing="ij")
    grid = torch.stack([columns, rows], -1).expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=True)
