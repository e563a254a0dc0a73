"""The estimator's stages on the host: NumPy and OpenCV around the engines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.cuda_kernels import reference
from pcr_rt.frames import check_frames
from pcr_rt.inference.boxes import Boxes
from pcr_rt.inference.detector import Finder
from pcr_rt.inference.pose_network import PoseNetwork, average_on_common_grid
from pcr_rt.inference.selection import Selection, Suppressed
from pcr_rt.models import Decode

__all__ = ["HostScene", "HostStages"]


class HostStages:
    """Networks that read host memory, and what finds their people; for any thread."""

    def __init__(self, networks: Sequence[PoseNetwork], find: Finder, *, flip_test: bool) -> None:
        self.networks, self.find, self.flip_test = list(networks), find, flip_test

    def scene(
        self, frames: Sequence[Any], *, events: bool = False
    ) -> AbstractContextManager[HostScene]:
        """Check one call's frames and take them on. Raises InputError for a bad frame.

        events: without meaning here, as the host's stages are always told apart.
        """
        return nullcontext(HostScene(self, check_frames(frames)))

    def rehearsal(self, max_people: int) -> list[int]:
        """List the numbers of people to warm up with: one, since no buffers depend on it."""
        return [1]

    def close(self) -> None:
        """Do nothing: there are no buffers to give back."""


class HostScene:
    """The frames of one call. ``times``: milliseconds of each stage."""

    def __init__(self, stages: HostStages, frames: Sequence[Any]) -> None:
        self._stages, self._frames = stages, frames
        self.times: dict[str, float] = {}

    def detect(self, which: Sequence[int], score_threshold: float) -> list[Boxes]:
        """Find the boxes of some of the frames, best first."""
        return self._stages.find([self._frames[i] for i in which], score_threshold)

    def people(
        self,
        counts: Sequence[int],
        boxes: NDArray[np.float64],
        box_scores: NDArray[np.float64],
        decode: Decode,
        selection: Selection,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Suppressed | None]]:
        """Find the keypoints (N, K, 2), and scores (N, K), of each frame's ``counts`` people.

        boxes: (N, 4) of all frames in turn. box_scores and selection are what a device needs for
        OKS-NMS; here that is left to the selection, as None in place of each frame's result says.
        """
        flip_test = self._stages.flip_test
        frame_index = np.repeat(np.arange(len(counts)), counts)
        outputs = []
        for network in self._stages.networks:
            with self._stage("crop"):
                images, crops = network.crop(self._frames, frame_index, boxes, flip_test=flip_test)
            with self._stage("infer"):
                outputs.append((network, crops, network.engine.run(images)))
        with self._stage("decode"):
            keypoints, scores = _decode(outputs, decode, flip_test)
        return keypoints, scores, [None] * len(counts)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times[name] = self.times.get(name, 0.0) + (time.perf_counter() - start) * 1e3


def _decode(
    outputs: list[tuple[PoseNetwork, NDArray[np.float64], list[NDArray[Any]]]],
    method: Decode,
    flip_test: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints and scores from all networks, their crop transforms and outputs."""
    network, crops, maps = outputs[0]
    spec = network.spec
    if spec.kind == "simcc":
        return reference.decode_simcc(maps[0], maps[1], crops, split=spec.split)
    plain, flipped, to_frame = average_on_common_grid(outputs, flip_test)
    return reference.decode_heatmaps(
        plain,
        to_frame,
        method=method,
        sigma=spec.sigma,
        mirrored=flipped,
        flip=spec.skeleton.flip if flip_test else None,
    )
