"""Random views of a person: half body, scale, rotation and flip as one crop transform; colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcr_rt.geometry import Size, Transform, box_to_region, crop_transform, mirrored_crop
from pcr_rt.skeleton import COCO17, Skeleton
from pcr_rt.training.data.person import Person

__all__ = ["Augmentation", "draw_views", "photometric"]


@dataclass(frozen=True)
class Augmentation:
    """How much the views vary; the defaults are HRNet's."""

    flip: float = 0.5
    """Probability of a mirrored view."""
    rotation: float = 45.0
    """Degrees x N(0, 1), clipped at 2 sigma."""
    rotation_probability: float = 0.6
    """How often a view is rotated at all."""
    scale: float = 0.35
    """Change of the crop's size, as a fraction x N(0, 1), clipped at 1 sigma."""
    half_body: float = 0.3
    """Probability of a crop of one half of the body, if enough keypoints are labelled."""
    shift: float = 0.0
    """Shift of the crop's centre, as a fraction of its sides x N(0, 1), clipped at 2 sigma: a
    detector's boxes fit less well than labelled ones."""
    colour: float = 0.0
    """Largest change of brightness, contrast and of each channel, as a fraction."""
    erase: float = 0.0
    """Probability that a random rectangle is blanked."""
    truncation: float = 0.0
    """Probability that a part of the person is hidden behind a cut through the body."""


HALF_BODY_LABELLED = 0.5
"""The part of the keypoints that must be labelled."""
HALF_BODY_MIN_CHOSEN = 3
HALF_BODY_PADDING = 1.5
HALF_BODY_UPPER = 0.69
"""How often the upper half is looked at: HRNet draws a normal number and takes it below 0.5."""


def draw_views(
    people: Sequence[Person],
    size: Size,
    heatmap: Size,
    transform: Transform,
    augmentation: Augmentation,
    rng: np.random.Generator,
    skeleton: Skeleton = COCO17,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw crop transforms (N, 2, 3) from input pixels to images, and which (N,) mirror."""
    n, aspect = len(people), size[0] / size[1]
    centre, region = box_to_region(np.stack([person.box for person in people]), aspect)
    # The same draws are made whatever is switched on, so that one setting leaves the rest alone.
    scale, rotation = np.clip(rng.standard_normal((2, n)), [[-1], [-2]], [[1], [2]])
    turn, mirror, halve, upper = rng.random((4, n))
    shift = np.clip(rng.standard_normal((n, 2)), -2, 2)
    for i in np.flatnonzero(halve < augmentation.half_body).tolist():
        half = _half_body(people[i], aspect, skeleton, bool(upper[i] < HALF_BODY_UPPER))
        if half is not None:
            centre[i], region[i] = half
    degrees = augmentation.rotation * rotation * (turn < augmentation.rotation_probability)
    centre = centre + augmentation.shift * shift * region
    region = region * (1 + augmentation.scale * scale).clip(0.3)[:, None]
    matrices = crop_transform(centre, region, size, transform, np.deg2rad(degrees))
    flipped = mirror < augmentation.flip
    matrices[flipped] = mirrored_crop(matrices[flipped], size, heatmap, transform)
    return matrices, flipped


def _half_body(
    person: Person, aspect: float, skeleton: Skeleton, upper: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Place a crop of one half's keypoints around their mean: centre (2,) and sides (2,).

    It is the other half's if too few of this one are labelled; None if too few are in all, or if
    the skeleton has no halves.
    """
    labelled = (person.weights > 0) & (person.amplitudes > 0.3)
    if not skeleton.upper or labelled.sum() < HALF_BODY_LABELLED * len(labelled):
        return None
    chosen = labelled & (upper == np.isin(skeleton.keypoints, skeleton.upper))
    if chosen.sum() < HALF_BODY_MIN_CHOSEN:
        chosen = labelled & ~chosen
    points = person.keypoints[chosen]
    box = np.concatenate([points.min(0), points.max(0)])
    if min(box[2:] - box[:2]) <= 1:
        return None
    return points.mean(0), box_to_region(box, aspect, HALF_BODY_PADDING)[1][0]


def photometric(
    images: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    part: tuple[int, int] = (0, 1),
) -> Tensor:
    """Change the colour of each image of a batch at random and erase a rectangle, on its device.

    images: (N, 3, H, W) float in 0..255; the generator lives on the CPU. part: (rank, processes),
    which part of a batch that several processes share these images are. Returns the same shape.
    """
    n, _, height, width = images.shape
    uniform = torch.rand(n * part[1], 10, 1, 1, generator=generator)[part[0] :: part[1]]
    uniform = uniform.to(images.device)
    draws, spans = uniform[:, :5] * 2 - 1, uniform[:, 6:]
    erased = uniform[:, 5:6] < augmentation.erase
    if augmentation.colour:
        images = images * (1 + augmentation.colour / 2 * draws[:, 2:])
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * (1 + augmentation.colour * draws[:, :1]) + mean
        images = (images + 128 * augmentation.colour * draws[:, 1:2]).clamp(0, 255)
    if augmentation.erase:
        size_y, size_x = 0.1 + 0.25 * spans[:, :1], 0.1 + 0.25 * spans[:, 1:2]
        top, left = spans[:, 2:3] * (1 - size_y), spans[:, 3:] * (1 - size_x)
        y = torch.linspace(0, 1, height, device=images.device).view(1, 1, -1, 1)
        x = torch.linspace(0, 1, width, device=images.device).view(1, 1, 1, -1)
        inside = (y > top) & (y < top + size_y) & (x > left) & (x < left + size_x)
        images = torch.where(inside & erased, 127.5 * (1 + draws[:, 1:2]), images)
    return images
