"""Gaussian heatmap targets, drawn on the device at sub-pixel positions."""

from __future__ import annotations

import torch
from torch import Tensor

from pcr_rt.geometry import Size, Transform, heatmap_to_input

__all__ = ["draw_heatmaps", "sigma_for", "to_heatmap", "weights_inside"]


def sigma_for(heatmap: Size) -> float:
    """Return the Gaussian's sigma in samples: 2 for maps 64 high, 3 for 96, else in proportion.

    It is the same size in the input for every resolution of one network (1 at 32x24).
    """
    return heatmap[1] / 32


def draw_heatmaps(points: Tensor, amplitudes: Tensor, heatmap: Size, sigma: float) -> Tensor:
    """Draw targets (N, K, h, w): ``amplitude x exp(-d^2 / (2 sigma^2))``.

    points: (N, K, 2) in heatmap samples, x then y, any fraction; amplitudes: (N, K). The Gaussian
    is separable, so each map is the outer product of two rows.
    """
    width, height = heatmap
    x = torch.arange(width, device=points.device, dtype=points.dtype)
    y = torch.arange(height, device=points.device, dtype=points.dtype)
    across = torch.exp(-((x - points[..., :1]) ** 2) / (2 * sigma**2))
    down = torch.exp(-((y - points[..., 1:]) ** 2) / (2 * sigma**2))
    return amplitudes[..., None, None] * down[..., :, None] * across[..., None, :]


def weights_inside(points: Tensor, weights: Tensor, heatmap: Size, sigma: float) -> Tensor:
    """Set weights (N, K) to 0 if a keypoint's Gaussian (3 sigma) lies wholly outside the map."""
    reach = 3 * sigma
    last = torch.tensor([heatmap[0] - 1, heatmap[1] - 1], device=points.device)
    inside = ((points >= -reach) & (points <= last + reach)).all(-1)
    return weights * inside


def to_heatmap(points: Tensor, size: Size, heatmap: Size, transform: Transform) -> Tensor:
    """Convert input pixels (..., 2) to samples of a map of ``heatmap`` = (w, h)."""
    step = heatmap_to_input(heatmap, size, transform)
    return points / torch.tensor(step, dtype=points.dtype, device=points.device)
