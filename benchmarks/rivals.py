"""The kernels' operations as one writes them in CuPy's and torch's array functions.

Each takes arrays of its library and gives what the kernel gives, for the inputs that
kernel_jobs.py makes: upright crops, RTMDet's maps, candidates of several frames of equal length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CROP = (192, 256)
PADDING = 1.25
LETTERBOX = (416, 416)
FILL = 114.0
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SPLIT = 2.0
SCORE_THRESHOLD, MAX_CANDIDATES = 0.2, 1000
IOU_THRESHOLD, OKS_THRESHOLD = 0.6, 0.9


def cuda_torch() -> Any:
    """Import torch if it has a GPU, otherwise return None."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def fitted(frame: Any) -> tuple[int, int, float]:
    """Give width, height and scale of a batch of frames (B, H, W, 3) in the letterbox."""
    height, width = frame.shape[1:3]
    scale = min(LETTERBOX[0] / width, LETTERBOX[1] / height)
    return round(width * scale), round(height * scale), scale


def _gather(cp: Any, frames: Any, x: Any, y: Any) -> Any:
    """Sample (N, h, w, 3) bilinearly at columns x (N, w) and rows y (N, h), black outside.

    frames: one (H, W, 3) for all, or one each (N, H, W, 3).
    """
    height, width = frames.shape[-3:-1]
    first = () if frames.ndim == 3 else (cp.arange(len(frames))[:, None, None],)
    left, top = cp.floor(x).astype(np.int32), cp.floor(y).astype(np.int32)
    total = 0
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = left + dx, top + dy
            inside = ((column >= 0) & (column < width))[:, None, :]
            inside = inside & ((row >= 0) & (row < height))[:, :, None]
            weight = (1 - abs(y - row))[:, :, None] * (1 - abs(x - column))[:, None, :] * inside
            rows = row.clip(0, height - 1)[:, :, None]
            pixels = frames[(*first, rows, column.clip(0, width - 1)[:, None, :])]
            total = total + weight[..., None] * pixels
    return total


def _normalised(cp: Any, pixels: Any) -> Any:
    """Turn pixels (N, h, w, 3) into normalised planes (N, 3, h, w)."""
    mean, std = cp.asarray(MEAN, np.float32), cp.asarray(STD, np.float32)
    return cp.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2))


def place(xp: Any, boxes: Any) -> tuple[Any, Any]:
    """Do the work of place_people for one view: transforms (N, 2, 3) and areas (N,)."""
    size = boxes[:, 2:] - boxes[:, :2]
    centre, width, height = (boxes[:, :2] + boxes[:, 2:]) / 2, size[:, 0], size[:, 1]
    aspect, (across, down) = CROP[0] / CROP[1], (CROP[0] - 1, CROP[1] - 1)
    x = xp.maximum(width, height * aspect) * PADDING / across
    y = xp.maximum(height, width / aspect) * PADDING / down
    left, top = centre[:, 0] - x * across / 2, centre[:, 1] - y * down / 2
    matrices = xp.stack([x, 0 * x, left, 0 * x, y, top], -1).reshape(-1, 2, 3)
    return matrices, width * height


def cupy_crop(cp: Any, frame: Any, transforms: Any) -> Any:
    """Do the work of crop_persons: a gather of four neighbours."""
    u = cp.arange(CROP[0], dtype=np.float32)
    v = cp.arange(CROP[1], dtype=np.float32)
    m = transforms.astype(np.float32)[..., None]
    x, y = m[:, 0, 0] * u + m[:, 0, 2], m[:, 1, 1] * v + m[:, 1, 2]
    return _normalised(cp, _gather(cp, frame, x, y)[..., ::-1])


def torch_crop(torch: Any, frame: Any, transforms: Any) -> Any:
    """Do the work of crop_persons: grid_sample of the frame, once a person."""
    height, width = frame.shape[:2]
    image = frame.permute(2, 0, 1)[None].float().expand(len(transforms), -1, -1, -1)
    v, u = torch.meshgrid(
        torch.arange(CROP[1], device=frame.device),
        torch.arange(CROP[0], device=frame.device),
        indexing="ij",
    )
    points = torch.stack([u, v, torch.ones_like(u)], dim=-1).float()
    xy = torch.einsum("hwk,nik->nhwi", points, transforms.float())
    grid = 2 * xy / torch.tensor([width - 1, height - 1], device=frame.device) - 1
    crops = torch.nn.functional.grid_sample(image, grid, align_corners=True).flip(1)
    mean, std = (torch.tensor(a, device=frame.device).view(1, 3, 1, 1) for a in (MEAN, STD))
    return (crops - mean) / std


def cupy_letterbox(cp: Any, frames: Any) -> Any:
    """Do the work of letterbox: a gather of four neighbours into an image of the fill's grey."""
    width, height, _ = fitted(frames)
    x = (cp.arange(width, dtype=np.float32) + 0.5) * (frames.shape[2] / width) - 0.5
    y = (cp.arange(height, dtype=np.float32) + 0.5) * (frames.shape[1] / height) - 0.5
    x, y = x.clip(0, frames.shape[2] - 1), y.clip(0, frames.shape[1] - 1)
    each = (axis[None].repeat(len(frames), axis=0) for axis in (x, y))
    images = cp.full((len(frames), LETTERBOX[1], LETTERBOX[0], 3), FILL, np.float32)
    images[:, :height, :width] = _gather(cp, frames, *each)
    return _normalised(cp, images)


def torch_letterbox(torch: Any, frames: Any) -> Any:
    """Do the work of letterbox: interpolate, pad, normalise."""
    width, height, _ = fitted(frames)
    planes = frames.permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(planes, size=(height, width), mode="bilinear")
    pads = (0, LETTERBOX[0] - width, 0, LETTERBOX[1] - height)
    images = torch.nn.functional.pad(resized, pads, value=FILL)
    mean, std = (torch.tensor(a, device=frames.device).view(1, 3, 1, 1) for a in (MEAN, STD))
    return (images - mean) / std


def cupy_decode(cp: Any, maps: Any, transforms: Any) -> tuple[Any, Any]:
    """Do the work of decode_heatmaps with ``none``."""
    flat = maps.reshape(*maps.shape[:2], -1)
    index = flat.argmax(axis=-1)
    y, x = cp.divmod(index, maps.shape[3])
    points = cp.stack([x, y, cp.ones_like(x)], axis=-1).astype(np.float64)
    return points @ transforms.transpose(0, 2, 1), flat.max(axis=-1)


def torch_decode(torch: Any, maps: Any, transforms: Any) -> tuple[Any, Any]:
    """Do the work of decode_heatmaps with ``none``."""
    scores, index = maps.flatten(2).topk(1, dim=-1)
    x, y = index % maps.shape[3], index // maps.shape[3]
    points = torch.cat([x, y, torch.ones_like(x)], dim=-1).double()
    return points @ transforms.transpose(1, 2), scores[..., 0]


def cupy_simcc(cp: Any, simcc_x: Any, simcc_y: Any, transforms: Any) -> tuple[Any, Any]:
    """Do the work of decode_simcc."""
    x, y = simcc_x.argmax(axis=-1) / SPLIT, simcc_y.argmax(axis=-1) / SPLIT
    points = cp.stack([x, y, cp.ones_like(x)], axis=-1)
    scores = cp.minimum(simcc_x.max(axis=-1), simcc_y.max(axis=-1)).clip(0, None)
    return points @ transforms.transpose(0, 2, 1), scores


def torch_simcc(torch: Any, simcc_x: Any, simcc_y: Any, transforms: Any) -> tuple[Any, Any]:
    """Do the work of decode_simcc."""
    (best_x, x), (best_y, y) = simcc_x.max(dim=-1), simcc_y.max(dim=-1)
    points = torch.stack([x / SPLIT, y / SPLIT, torch.ones_like(x)], dim=-1).double()
    return points @ transforms.transpose(1, 2), torch.minimum(best_x, best_y).clamp(min=0)


def cupy_boxes(cp: Any, frames: Any, *maps: Any) -> tuple[Any, Any]:
    """Decode RTMDet's maps to boxes and scores, best first; scores below the threshold are -1.

    frames: (B, 3), scale, width and height of each.
    """
    corners, logits = [], []
    for one in maps:
        batch, rows, columns, _ = one.shape
        x = cp.arange(columns, dtype=np.float32) * (LETTERBOX[0] / columns)
        y = cp.arange(rows, dtype=np.float32)[:, None] * (LETTERBOX[1] / rows)
        sides = x - one[..., 1], y - one[..., 2], x + one[..., 3], y + one[..., 4]
        corners.append(cp.stack(sides, axis=-1).reshape(batch, -1, 4))
        logits.append(one[..., 0].reshape(batch, -1))
    scores = 1 / (1 + cp.exp(-cp.concatenate(logits, axis=1)))
    boxes = cp.concatenate(corners, axis=1) / frames[:, :1, None]
    limits = frames[:, [1, 2, 1, 2]][:, None]
    boxes = cp.minimum(cp.maximum(boxes, 0), limits)
    usable = (boxes[..., 2:] > boxes[..., :2]).all(axis=-1) & (scores >= SCORE_THRESHOLD)
    scores = cp.where(usable, scores, -1)
    best = cp.argsort(-scores, axis=1)[:, :MAX_CANDIDATES]
    each = cp.arange(len(best))[:, None]
    return boxes[each, best], scores[each, best]


def torch_boxes(torch: Any, frames: Any, *maps: Any) -> tuple[Any, Any]:
    """Decode RTMDet's maps, as `cupy_boxes`: topk and gather."""
    corners, logits = [], []
    for one in maps:
        rows, columns = one.shape[1:3]
        x = torch.arange(columns, device=one.device) * (LETTERBOX[0] / columns)
        y = torch.arange(rows, device=one.device)[:, None] * (LETTERBOX[1] / rows)
        sides = x - one[..., 1], y - one[..., 2], x + one[..., 3], y + one[..., 4]
        corners.append(torch.stack(sides, dim=-1).flatten(1, 2))
        logits.append(one[..., 0].flatten(1))
    scores = torch.cat(logits, dim=1).sigmoid()
    boxes = torch.cat(corners, dim=1) / frames[:, :1, None]
    limits = frames[:, [1, 2, 1, 2]][:, None]
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    usable = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1) & (scores >= SCORE_THRESHOLD)
    scores = torch.where(usable, scores, -1.0)
    scores, best = scores.topk(min(MAX_CANDIDATES, scores.shape[1]), dim=1)
    return boxes.gather(1, best[..., None].expand(-1, -1, 4)), scores


def _kept(xp: Any, close: Any) -> Any:
    """Mark who stays (B, n), best first: nobody close (B, n, n) to one who stays before."""
    keep = xp.ones_like(close[:, 0])
    for i in range(keep.shape[1] - 1):
        keep[:, i + 1 :] &= ~(keep[:, i : i + 1] & close[:, i, i + 1 :])
    return keep


def box_nms(xp: Any, boxes: Any) -> Any:
    """Suppress boxes (B, n, 4), best first, in either library: all pairs, then one by one."""
    low = xp.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = xp.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (high - low).clip(0, None)
    shared = sides[..., 0] * sides[..., 1]
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return _kept(xp, shared / (area[:, :, None] + area[:, None] - shared) > IOU_THRESHOLD)


def oks_nms(xp: Any, keypoints: Any, areas: Any, decay: Any) -> Any:
    """Suppress people (B, n, K, 2), best first, as `box_nms`; decay (K,): 1 / (2 (2 sigma)^2)."""
    offset = keypoints[:, :, None] - keypoints[:, None]
    squared = (offset * offset).sum(-1)
    area = (areas[:, :, None] + areas[:, None]) / 2
    oks = xp.exp(-squared * decay / area[..., None]).mean(-1)
    return _kept(xp, oks > OKS_THRESHOLD)
