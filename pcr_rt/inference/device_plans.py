"""The two kinds of work on the device: finding people, and finding their keypoints."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.cuda_kernels import kernels
from pcr_rt.engines import Binding, Engine
from pcr_rt.geometry import Size
from pcr_rt.inference.boxes import IOU_THRESHOLD, MAX_BOXES, Boxes, large_enough
from pcr_rt.inference.pose_network import PoseNetwork
from pcr_rt.inference.selection import Selection, Suppressed
from pcr_rt.models import Decode

__all__ = [
    "DetectPlan",
    "Plan",
    "PosePlan",
    "bucket",
]

log = logging.getLogger(__name__)

MAX_CANDIDATES = 1000


def bucket(count: int, most: int) -> int:
    """Give the next power of two, at most ``most``."""
    return min(1 << (count - 1).bit_length(), most)


class Plan:
    """Runs `work` on the current stream: launch by launch at first, then as a graph."""

    def __init__(self, stream: Any, bindings: Sequence[Binding], *, record: bool) -> None:
        self._stream = stream
        self._pool = kernels.pool_of(self)
        self._record = record and all(b.capturable for b in bindings)
        self._graph: Any = None
        self._ran = False
        self._marks: list[tuple[str, Any]] | None = None
        self.times: dict[str, float] = {}
        """Milliseconds of each stage of the last run; without events all are ``infer``."""

    def work(self) -> None:
        """Queue everything on the current stream."""
        raise NotImplementedError

    def run(self, *, events: bool = False) -> None:
        """Do the work and wait for it: the one synchronisation.

        events: whether to time the stages of launches that go one by one.
        """
        if self._record and self._ran and self._graph is None:
            self._capture()
        start = time.perf_counter()
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._marks = [] if events else None
            with self._stream, kernels.memory_of(self._pool):
                self.mark("start")
                self.work()
        self._ran = True
        self._stream.synchronize()
        if self._marks:
            self.times, self._marks = _elapsed(self._marks), None
        else:
            self.times = {"infer": (time.perf_counter() - start) * 1e3}

    def mark(self, stage: str) -> None:
        """Count what was queued since the last mark to ``stage``."""
        if self._marks is not None:
            event = kernels.cupy().cuda.Event()
            event.record(self._stream)
            self._marks.append((stage, event))

    def _capture(self) -> None:
        try:
            with self._stream:
                self._graph = kernels.Graph(self.work, self._pool)
        except Exception as error:  # the driver, CuPy and engines each have their own classes
            self._record = False
            reason = " ".join(str(error).split())[:200]
            log.warning("No CUDA graph here, launches go on one by one: %s", reason)


def _elapsed(marks: Sequence[tuple[str, Any]]) -> dict[str, float]:
    """Give the milliseconds of each stage, from the mark before to its own."""
    times: dict[str, float] = {}
    for (_, before), (stage, event) in itertools.pairwise(marks):
        milliseconds = kernels.cupy().cuda.get_elapsed_time(before, event)
        times[stage] = times.get(stage, 0.0) + milliseconds
    return times


class DetectPlan(Plan):
    """Letterbox, detector, box decoding and NMS of up to ``batch`` frames.

    decoded: whether the boxes of a YOLOX engine are in input pixels.
    """

    def __init__(
        self,
        stream: Any,
        engine: Engine,
        binding: Binding,
        batch: int,
        score_threshold: float,
        decoded: bool,
    ) -> None:
        super().__init__(stream, [binding], record=True)
        self._spec, self._binding, self._batch = engine.spec, binding, batch
        self._score_threshold, self._decoded = score_threshold, decoded
        self._images, self._outputs = _arrays(binding)
        self._sent = kernels.Packed(
            {
                "frames": ((batch, kernels.FRAME.size), np.uint8),
                "scales": ((batch, 3), np.float64),
            }
        )
        self._back = kernels.Packed(
            {
                "boxes": ((batch, MAX_CANDIDATES, 4), np.float32),
                "scores": ((batch, MAX_CANDIDATES), np.float32),
                "counts": ((batch,), np.int32),
                "keep": ((batch, MAX_BOXES), np.int32),
                "kept": ((batch,), np.int32),
            }
        )

    def __call__(self, rows: NDArray[Any], sizes: Sequence[Size]) -> list[Boxes]:
        """Find the boxes of the frames in ``rows`` of a frame table; sizes: (width, height)."""
        width, height = self._spec.input_size
        sent, found, n = self._sent.host, self._back.host, len(rows)
        # A bucket's unused places show the first frame again.
        sent["frames"][:n], sent["frames"][n:] = rows, rows[0]
        scales = [(min(width / w, height / h), w, h) for w, h in sizes]
        sent["scales"][...] = scales + scales[:1] * (self._batch - n)
        self.run()
        kept = [found["keep"][i, :count] for i, count in enumerate(found["kept"][:n].tolist())]
        boxes_and_scores = zip(found["boxes"], found["scores"], kept, strict=False)
        return [large_enough(*of_frame) for of_frame in boxes_and_scores]

    def work(self) -> None:
        """See `Plan`."""
        spec, back = self._spec, self._back.device
        self._sent.upload()
        table = kernels.FrameTable(self._sent.device["frames"], [(1, 1)] * self._batch, [])
        kernels.letterbox(
            table,
            spec.input_size,
            spec.mean,
            spec.std,
            fill=spec.fill,
            rgb=spec.colour == "rgb",
            out=self._images,
        )
        self._binding.enqueue(self._stream.ptr)
        found = kernels.decode_boxes_padded(
            self._outputs,
            spec.layout,
            self._sent.device["scales"],
            None,
            input_size=spec.input_size,
            score_threshold=self._score_threshold,
            max_candidates=MAX_CANDIDATES,
            decoded=self._decoded,
            out=kernels.Candidates(back["boxes"], back["scores"], back["counts"]),
        )
        kernels.box_nms_padded(found, IOU_THRESHOLD, MAX_BOXES, out=(back["keep"], back["kept"]))
        self._back.download()


class PosePlan(Plan):
    """Crop, infer, decode and suppress as many people as ``parts`` hold in all.

    parts: sizes of batches that go through the networks one after the other; frames: places for
    that many frames or fewer; bindings: for each
    part those of all networks, for ``views`` times as many images, the mirrored crops last.
    """

    def __init__(
        self,
        stream: Any,
        networks: Sequence[PoseNetwork],
        bindings: Sequence[Sequence[Binding]],
        parts: Sequence[int],
        frames: int,
        views: int,
        decode: Decode,
        selection: Selection,
    ) -> None:
        every = [b for part in bindings for b in part]
        super().__init__(stream, every, record=len(parts) == 1)
        self._networks, self._parts, self._views = networks, parts, views
        self._bindings = [[(b, *_arrays(b)) for b in part] for part in bindings]
        self._decode, self._selection, self._frames = decode, selection, frames
        spec = networks[0].spec
        self._grid = None if spec.kind == "simcc" else networks[0].heatmap_size()
        people, joints = sum(parts), len(spec.skeleton)
        self._sent = kernels.Packed(
            {
                "frames": ((frames, kernels.FRAME.size), np.uint8),
                "boxes": ((people, 4), np.float64),
                "scores": ((people,), np.float64),
                "first": ((frames + 1,), np.int32),
            }
        )
        empty = kernels.cupy().empty
        self._places = kernels.Places(
            empty(people, np.int32),
            empty((views, people, 2, 3), np.float64),
            empty((people, 2, 3), np.float64),
            empty(people, np.float64),
        )
        self._back = kernels.Packed(
            {
                "keypoints": ((people, joints, 2), np.float32),
                "keypoint_scores": ((people, joints), np.float32),
                "keep": ((people,), np.int32),
                "lowered": ((people,), np.float32),
                "kept": ((frames,), np.int32),
            }
        )

    def __call__(
        self,
        rows: NDArray[Any],
        counts: Sequence[int],
        boxes: NDArray[np.float64],
        box_scores: NDArray[np.float64],
        *,
        events: bool,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Suppressed | None]]:
        """Find keypoints, their scores, and the people whom OKS-NMS keeps in each frame.

        rows: the frames' table; counts: people of each frame; boxes: (N, 4); box_scores: (N,). The
        results lie in page-locked memory, which the next run overwrites.
        """
        sent, n = self._sent.host, len(boxes)
        first = [0, *itertools.accumulate(counts)]
        sent["frames"][: len(rows)] = rows
        sent["boxes"][:n] = boxes
        sent["scores"][:n] = box_scores
        # Places without a frame have nobody.
        sent["first"][...] = first + [n] * (self._frames + 1 - len(first))
        self.run(events=events)
        back = self._back.host
        suppressed: list[Suppressed | None] = [None] * len(counts)
        if self._selection.nms is not None:
            kept = zip(first, back["kept"].tolist(), strict=False)
            rows_kept = [slice(start, start + count) for start, count in kept][: len(counts)]
            suppressed = [(back["keep"][r], back["lowered"][r]) for r in rows_kept]
        return back["keypoints"][:n], back["keypoint_scores"][:n], suppressed

    def work(self) -> None:
        """See `Plan`."""
        selection, sent, back = self._selection, self._sent.device, self._back.device
        self._sent.upload()
        spec = self._networks[0].spec
        kernels.place_people(
            sent["boxes"],
            sent["first"],
            size=spec.input_size,
            transform=spec.transform,
            padding=spec.padding,
            grid=self._grid,
            mirrored=self._views == 2,
            out=self._places,
        )
        start = 0
        for part, bindings in zip(self._parts, self._bindings, strict=True):
            self._infer(slice(start, start + part), bindings)
            start += part
        if selection.nms is not None:
            kernels.oks_nms_padded(
                back["keypoints"],
                sent["scores"],
                self._places.areas,
                sent["first"],
                sigmas=selection.skeleton.sigma_array,
                method=selection.nms,
                threshold=selection.oks_threshold,
                keypoint_scores=back["keypoint_scores"],
                person_score=selection.person_score,
                out=(back["keep"], back["lowered"], back["kept"]),
            )
        self._back.download()
        self.mark("suppress")

    def _infer(self, rows: slice, bindings: Sequence[tuple[Binding, Any, list[Any]]]) -> None:
        """Crop, infer and decode the people in ``rows``."""
        places, n = self._places, rows.stop - rows.start
        table = kernels.FrameTable(self._sent.device["frames"], [(1, 1)] * self._frames, [])
        for network, (binding, images, _) in zip(self._networks, bindings, strict=True):
            spec = network.spec
            for view in range(self._views):
                kernels.crop_persons(
                    table,
                    places.frame_index[rows],
                    places.crops[view][rows],
                    spec.input_size,
                    spec.mean,
                    spec.std,
                    rgb=spec.colour == "rgb",
                    out=images[view * n : (view + 1) * n],
                )
            self.mark("crop")
            binding.enqueue(self._stream.ptr)
            self.mark("infer")
        spec, to_frame = self._networks[0].spec, places.to_frame[rows]
        out = (self._back.device["keypoints"][rows], self._back.device["keypoint_scores"][rows])
        maps = [outputs[0] for _, _, outputs in bindings]
        if spec.kind == "simcc":
            x, y = bindings[0][2]
            kernels.decode_simcc(x, y, to_frame, split=spec.split, out=out)
        else:
            kernels.decode_heatmaps(
                [m[:n] for m in maps],
                to_frame,
                method=self._decode,
                sigma=spec.sigma,
                mirrored=[m[n:] for m in maps] if self._views == 2 else None,
                flip=spec.skeleton.flip if self._views == 2 else None,
                out=out,
            )
        self.mark("decode")


def _arrays(binding: Binding) -> tuple[Any, list[Any]]:
    """Give a binding's buffers as CuPy arrays, made once: they do not move."""
    asarray = kernels.cupy().asarray
    return asarray(binding.images), [asarray(output) for output in binding.outputs]
