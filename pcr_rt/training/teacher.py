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
from pcr_rt.geometry import Size, Transform, heatmap_to_input, pixel_steps
from pcr_rt.training.checkpoints.checkpoint import network_and_spec
from pcr_rt.training.torch_engine import TorchEngine

__all__ = ["Teacher", "load_teacher"]


class Teacher:
    """An engine that gives heatmaps of augmented views, whatever its own size and convention.

    Student and teacher see the same region of the image, each sampled by its own convention
    (``udp`` or ``msra``); maps are read by linear interpolation where the student's samples lie.
    flip_test: each view's maps are averaged with those of its mirror image.
    """

    def __init__(self, engine: Engine, *, flip_test: bool = False) -> None:
        if engine.spec.kind != "heatmap":
            raise DataError(
                f"The teacher {engine.spec.name!r} gives {engine.spec.kind}, not heatmaps: name"
                " another model."
            )
        self.engine, self.spec, self.flip_test = engine, engine.spec, flip_test

    def maps(self, images: Tensor, transform: Transform) -> Tensor:
        """Run the teacher: heatmaps (N, K, h, w) on its own grid.

        images: the student's views (N, 3, H, W), RGB 0..255; transform: their convention.
        """
        spec = self.spec
        seen = (images.shape[3], images.shape[2])
        # Input pixel u of the teacher shows what lies at pixel u x step of the student's view.
        step = pixel_steps(seen, transform) / pixel_steps(spec.input_size, spec.transform)
        view = _read(images, step, spec.input_size)
        if spec.colour == "bgr":
            view = view.flip(1)
        mean = torch.tensor(spec.mean, device=view.device).view(1, 3, 1, 1)
        std = torch.tensor(spec.std, device=view.device).view(1, 3, 1, 1)
        view = (view - mean) / std
        maps = self._run(view)
        return (maps + self._unmirrored(self._run(view.flip(3)))) / 2 if self.flip_test else maps

    def _run(self, view: Tensor) -> Tensor:
        found = self.engine.run(view.cpu().numpy())[0]
        return torch.from_numpy(np.asarray(found, dtype=np.float32)).to(view.device)

    def _unmirrored(self, maps: Tensor) -> Tensor:
        """Turn maps of mirrored views into maps of the views, left and right keypoints swapped."""
        own, (width, _) = (maps.shape[3], maps.shape[2]), self.spec.input_size
        turned = maps[:, torch.from_numpy(self.spec.skeleton.flip.copy())].flip(3)
        # Sample i of the turned maps lies at input pixel (W - 1) - (w - 1 - i) x step.
        step = heatmap_to_input(own, self.spec.input_size, self.spec.transform)[0]
        first = (own[0] - 1) - (width - 1) / step
        return _read(turned, np.ones(2), own, origin=(first, 0.0))

    def on_grid(self, maps: Tensor, size: Size, heatmap: Size, transform: Transform) -> Tensor:
        """Resample ``maps`` to a student's grid ``heatmap`` (w, h) of a view ``size`` (w, h)."""
        own = (maps.shape[3], maps.shape[2])
        student = heatmap_to_input(heatmap, size, transform) / pixel_steps(size, transform)
        teacher = heatmap_to_input(own, self.spec.input_size, self.spec.transform) / pixel_steps(
            self.spec.input_size, self.spec.transform
        )
        return _read(maps, student / teacher, heatmap)


def load_teacher(path: Path, device: str, *, flip_test: bool = False) -> Teacher:
    """Load the teacher of a model file (.onnx), a checkpoint or the folder of a run."""
    if path.suffix == ".onnx":
        return Teacher(OnnxRuntimeEngine(path, device=device), flip_test=flip_test)
    network, spec = network_and_spec(path / "best.pt" if path.is_dir() else path)
    return Teacher(TorchEngine(network.to(device), spec), flip_test=flip_test)


def _read(
    images: Tensor, step: np.ndarray, size: Size, origin: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Read ``images`` at ``origin`` + (i x step_x, j x step_y), linearly; outside it is the border.

    size: (w, h) of the result; origin: (x, y).
    """
    width, height = images.shape[3], images.shape[2]
    if size == (width, height) and np.allclose(step, 1) and np.allclose(origin, 0):
        return images
    # grid_sample's -1 and 1 are the first and last sample with align_corners.
    x = origin[0] + torch.arange(size[0], device=images.device) * step[0]
    y = origin[1] + torch.arange(size[1], device=images.device) * step[1]
    x, y = x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1
    rows, columns = torch.meshgrid(y.float(), x.float(), indexing="ij")
    grid = torch.stack([columns, rows], -1).expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=True)
