"""Crops of people to learn from: read from files, or cut from images on the device."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcr_rt.coco.record_images import read_labelled
from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.media import read_image
from pcr_rt.training.data.device_images import ImagesOnDevice
from pcr_rt.training.data.person import Person
from pcr_rt.training.data.truncation import TruncatedPerson

__all__ = ["crop_on_device", "read_crop"]


def read_crop(person: Person, matrix: NDArray[np.float64], size: Size) -> NDArray[np.uint8]:
    """Read the crop (H, W, 3), RGB, of a person; matrix (2, 3): crop to image pixels.

    Raises InputError for an image that cannot be read or has another size than the labels'; a
    cover that cannot be read is black.
    """
    frame = read_labelled(person.image, person.image_size, ignore_exif=person.ignore_exif)
    crop = _cut(frame, matrix, size)
    if isinstance(person, TruncatedPerson):
        hidden = ~person.seen(matrix, size)
        crop[hidden] = 0
        if person.cover is not None:
            try:
                cover = read_image(person.cover)
            except InputError:  # it is named when its own turn comes
                return crop
            view = _cover_view(matrix, _size(frame), _size(cover))
            crop[hidden] = _cut(cover, view, size)[hidden]
    return crop


def crop_on_device(
    images: ImagesOnDevice, people: Sequence[Person], matrices: NDArray[np.float64], size: Size
) -> Tensor:
    """Cut what ``read_crop`` gives for each person, (N, H, W, 3), on the images' device."""
    crops = images.crop([person.image for person in people], matrices, size)
    for person, matrix, crop in zip(people, matrices, crops, strict=True):
        if isinstance(person, TruncatedPerson):
            hidden = torch.from_numpy(~person.seen(matrix, size)).to(crop.device)
            crop[hidden] = 0
            if person.cover is not None and person.cover not in images.unreadable:
                sizes = images.size(person.image), images.size(person.cover)
                view = _cover_view(matrix, *sizes)
                crop[hidden] = images.crop([person.cover], view[None], size)[0][hidden]
    return crops


def _cut(frame: NDArray[np.uint8], matrix: NDArray[np.float64], size: Size) -> NDArray[np.uint8]:
    crop = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(crop[..., ::-1], dtype=np.uint8)


def _size(frame: NDArray[np.uint8]) -> Size:
    return frame.shape[1], frame.shape[0]


def _cover_view(matrix: NDArray[np.float64], own: Size, cover: Size) -> NDArray[np.float64]:
    """Map crop pixels to the place in the cover that the matrix has in the own image."""
    view: NDArray[np.float64] = matrix * (np.array(cover) / own)[:, None]
    return view
