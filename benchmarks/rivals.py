"""The kernels' operations as one writes them in CuPy's and torch's array functions."""

from __future__ import annotations

from typing import Any

import numpy as np

CROP = (192, 256)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def cuda_torch() -> Any:
    """torch if it has a GPU, otherwise None."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def cupy_crop(cp: Any, frame: Any, transforms: Any) -> Any:
    """crop_persons in array functions: a gather of four neighbours."""
    u = cp.arange(CROP[0], dtype=np.float32)
    v = cp.arange(CROP[1], dtype=np.float32)
    m = transforms.astype(np.float32)[..., None]
    x, y = m[:, 0, 0] * u + m[:, 0, 2], m[:, 1, 1] * v + m[:, 1, 2]
    left, top = cp.floor(x).astype(np.int32), cp.floor(y).astype(np.int32)
    total = 0
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = left + dx, top + dy
            inside = ((column >= 0) & (column < frame.shape[1]))[:, None, :]
            inside = inside & ((row >= 0) & (row < frame.shape[0]))[:, :, None]
            weight = (1 - abs(y - row))[:, :, None] * (1 - abs(x - column))[:, None, :] * inside
            pixels = frame[
                row.clip(0, frame.shape[0] - 1)[:, :, None],
                column.clip(0, frame.shape[1] - 1)[:, None, :],
            ]
            total = total + weight[..., None] * pixels
    mean, std = cp.asarray(MEAN, np.float32), cp.asarray(STD, np.float32)
    return cp.ascontiguousarray(((total[..., ::-1] - mean) / std).transpose(0, 3, 1, 2))


def cupy_decode(cp: Any, maps: Any, transforms: Any) -> tuple[Any, Any]:
    """decode_heatmaps with ``none`` in array functions."""
    flat = maps.reshape(*maps.shape[:2], -1)
    index = flat.argmax(axis=-1)
    y, x = cp.divmod(index, maps.shape[3])
    points = cp.stack([x, y, cp.ones_like(x)], axis=-1).astype(np.float64)
    return points @ transforms.transpose(0, 2, 1), flat.max(axis=-1)


def torch_crop(torch: Any, frame: Any, transforms: Any) -> Any:
    """crop_persons as one would write it in torch: grid_sample of the frame, once a person."""
    height, width = frame.shape[:2]
    picture = frame.permute(2, 0, 1)[None].float().expand(len(transforms), -1, -1, -1)
    v, u = torch.meshgrid(
        torch.arange(CROP[1], device=frame.device),
        torch.arange(CROP[0], device=frame.device),
        indexing="ij",
    )
    points = torch.stack([u, v, torch.ones_like(u)], dim=-1).float()
    xy = torch.einsum("hwk,nik->nhwi", points, transforms.float())
    grid = 2 * xy / torch.tensor([width - 1, height - 1], device=frame.device) - 1
    crops = torch.nn.functional.grid_sample(picture, grid, align_corners=True).flip(1)
    mean, std = (torch.tensor(a, device=frame.device).view(1, 3, 1, 1) for a in (MEAN, STD))
    return (crops - mean) / std


def torch_decode(torch: Any, maps: Any, transforms: Any) -> tuple[Any, Any]:
    """decode_heatmaps with ``none`` in torch."""
    scores, index = maps.flatten(2).topk(1, dim=-1)
    x, y = index % maps.shape[3], index // maps.shape[3]
    points = torch.cat([x, y, torch.ones_like(x)], dim=-1).double()
    return points @ transforms.transpose(1, 2), scores[..., 0]
