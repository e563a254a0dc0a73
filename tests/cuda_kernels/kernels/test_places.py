"""place_people on the device against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device_arrays import OnDevice
from pcr_rt.cuda_kernels import reference
from pcr_rt.errors import InputError


def boxes_of(n: int) -> np.ndarray:
    """Boxes (N, 4) from tall to wide, over the borders of any frame, with odd decimals."""
    rng = np.random.default_rng(n)
    corner = rng.uniform(-300, 2000, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0.1, 900, (n, 2))], axis=1)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("transform", ["udp", "msra"])
@pytest.mark.parametrize(
    ("capacity", "counts"),
    [(1, [1]), (8, [5]), (8, [0, 3, 0, 0, 4, 0, 0, 0]), (64, [64]), (130, [1, 128]), (4, [0])],
)
def test_same_places(
    kernels: Any, capacity: int, counts: list[int], transform: Any, mirrored: bool
) -> None:
    boxes, first = boxes_of(capacity), np.concatenate([[0], np.cumsum(counts)])
    boxes[first[-1] :] = np.nan  # nobody has written there
    options: dict[str, Any] = {
        "size": (192, 256),
        "transform": transform,
        "padding": 1.25,
        "grid": (48, 64),
        "mirrored": mirrored,
    }
    expected = reference.place_people(boxes, first, **options)
    found = kernels.place_people(OnDevice(boxes), OnDevice(first.astype(np.int32)), **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-9)


def test_simcc_and_host_arrays(kernels: Any) -> None:
    options: dict[str, Any] = {"size": (192, 256), "transform": "msra", "padding": 1.5}
    expected = reference.place_people(boxes_of(3), [0, 3], **options)
    found = kernels.place_people(boxes_of(3), np.array([0, 3]), **options)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-9)


def test_nobody_costs_no_launch(emulated: Any) -> None:
    options: dict[str, Any] = {"size": (24, 32), "transform": "msra", "padding": 1.25}
    assert emulated.place_people(np.empty((0, 4)), np.array([0, 0]), **options)[1].shape == (
        *(1, 0, 2, 3),
    )
    assert emulated.launches == []
    emulated.place_people(boxes_of(70), np.array([0, 70]), **options)
    assert emulated.launches == ["place_people"]
    with pytest.raises(InputError, match="boxes has shape"):
        emulated.place_people(np.empty((2, 5)), np.array([0, 2]), **options)
