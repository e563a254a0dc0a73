"""Suppression of people by OKS on the GPU; the part of ``kernels`` that concerns people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pcr_rt.cuda_kernels.kernels.launch import NULL, DeviceArray, constant, cupy, launch, on_device
from pcr_rt.cuda_kernels.reference.oks import SuppressMethod
from pcr_rt.models import PersonScore
from pcr_rt.skeleton import COCO17

__all__ = ["oks_nms", "oks_nms_padded"]

PERSON_SCORES: tuple[PersonScore, ...] = ("mean>0.2", "mean", "rms")
"""The order of `enum PersonScore` in oks_nms.cu."""


def oks_nms(
    keypoints: DeviceArray,
    scores: DeviceArray,
    areas: DeviceArray,
    *,
    sigmas: NDArray[np.float64] = COCO17.sigma_array,
    method: SuppressMethod,
    threshold: float = 0.9,
) -> tuple[DeviceArray, DeviceArray]:
    """Do what :func:`reference.oks_nms` does, keypoints in float32. Waits to learn the count.

    sigmas lie on the host.
    """
    points = on_device(keypoints, np.float32, (None, len(sigmas), 2), "keypoints")
    n = len(points)
    keep, lowered, kept = oks_nms_padded(
        points,
        on_device(scores, np.float64, (n,), "scores"),
        on_device(areas, np.float64, (n,), "areas"),
        constant(np.array([0, n], np.int32)),
        sigmas=sigmas,
        method=method,
        threshold=threshold,
    )
    count = int(kept.get()[0])
    return keep[:count].astype(np.intp), lowered[:count]


def oks_nms_padded(
    keypoints: DeviceArray,
    scores: DeviceArray,
    areas: DeviceArray,
    first: DeviceArray,
    *,
    sigmas: NDArray[np.float64] = COCO17.sigma_array,
    method: SuppressMethod,
    threshold: float = 0.9,
    keypoint_scores: DeviceArray | None = None,
    person_score: PersonScore = "mean",
    out: tuple[DeviceArray, DeviceArray, DeviceArray] | None = None,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """Suppress people in B frames at once, those in rows ``first[f]`` to ``first[f + 1]``.

    keypoints: (C, K, 2) float32; scores, areas: (C,) float64; first: (B + 1,) int32, ascending;
    sigmas: (K,) on the host; keypoint_scores: (C, K) float32, of which ``person_score`` multiplies
    the scores; out: arrays for the results. Returns, from each frame's first row on, which of its
    people to keep (C,), their scores (C,), and how many there are in each frame (B,).
    """
    cp = cupy()
    capacity, frames = len(scores), len(first) - 1
    keep, lowered, kept = out or (
        cp.empty(capacity, np.int32),
        cp.empty(capacity, np.float32),
        cp.zeros(frames, np.int32),
    )
    if capacity:
        launch(
            "oks_nms",
            (frames,),
            256,
            (
                keypoints,
                NULL if keypoint_scores is None else keypoint_scores,
                scores,
                areas,
                constant(1 / (2 * (2 * sigmas) ** 2)),
                first,
                cp.empty(capacity, np.float64),
                cp.empty(capacity, np.int32),
                keep,
                lowered,
                kept,
                np.int32(len(sigmas)),
                np.int32(PERSON_SCORES.index(person_score)),
                np.int32(method == "soft"),
                np.float64(threshold),
            ),
        )
    return keep, lowered, kept
