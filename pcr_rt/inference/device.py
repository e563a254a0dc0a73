"""The estimator's stages on a CUDA device: frames in, keypoints back, one wait for it.

Each thread has a stream and its own buffers. People are rounded up to a bucket (1, 2, 4, 8 ...),
for which buffers are made once and, after a first run, the work is recorded as a CUDA graph.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcr_rt.cuda_kernels import kernels
from pcr_rt.cuda_kernels.reference.boxes import yolox_is_decoded
from pcr_rt.engines import Binding, DeviceEngine
from pcr_rt.errors import InputError
from pcr_rt.frames import (
    ArrayInterface,
    CheckedFrames,
    Nv12Frame,
    check_frames,
    device_interface,
    frame_size,
)
from pcr_rt.inference.boxes import Boxes
from pcr_rt.inference.detector import Detector, DetectorLike, Finder, finder
from pcr_rt.inference.device_plans import DetectPlan, Plan, PosePlan, bucket
from pcr_rt.inference.pose_network import PoseNetwork, same_grid
from pcr_rt.inference.selection import Selection, Suppressed
from pcr_rt.layouts import LAYOUTS
from pcr_rt.models import Decode

__all__ = ["DeviceScene", "DeviceStages", "device_stages"]

log = logging.getLogger(__name__)

MOST_PLANS = 64
"""Sizes of work that a thread keeps buffers and graphs of."""
FRAMES_STEP = 8
"""A plan holds one frame, or 8, 64 ... of them; places without people cost next to nothing."""


def device_stages(
    networks: Sequence[PoseNetwork], detector: DetectorLike | None, *, flip_test: bool
) -> DeviceStages | None:
    """Make the stages if all pose networks run on a device and the kernels can do what is asked.

    None otherwise, with a line in the log if the engines would be able to. Raises InputError for
    models on different devices.
    """
    engines = [n.engine for n in networks]
    if not all(isinstance(e, DeviceEngine) for e in engines):
        return None
    on_device = [e for e in engines if isinstance(e, DeviceEngine)]
    own = detector.engine if isinstance(detector, Detector) else None
    read_there = isinstance(detector, Detector) and (
        LAYOUTS[detector.spec.layout].on_device and detector.class_index == 0
    )
    if isinstance(own, DeviceEngine):
        on_device.append(own)
    devices = sorted({e.device for e in on_device})
    if len(devices) > 1:
        names = " and ".join(f"cuda:{d}" for d in devices)
        raise InputError(f"The models lie on {names}: put all of them on one device.")
    views = 1 + flip_test
    if any(e.max_batch < views for e in on_device if e is not own):
        log.warning("flip_test needs engines that take two images: crops are made on the host.")
        return None
    if not same_grid(networks):
        log.warning("The ensemble's heatmaps differ in their grids: they are read on the host.")
        return None
    there = own if isinstance(own, DeviceEngine) and read_there else None
    return DeviceStages(networks, there, finder(detector), views)


def _is_decoded(detector: DeviceEngine) -> bool:
    """Tell by its values for a blank image whether a YOLOX file gives its boxes in input pixels."""
    if detector.spec.layout != "yolox":
        return False
    width, height = detector.spec.input_size
    return yolox_is_decoded(detector.run(np.zeros((1, 3, height, width), np.float32))[0])


class DeviceStages:
    """Networks on one device with a `Worker` for each thread that calls.

    detector: finds people on the device; if it is None, ``find`` does so on the host. views: crops
    of each person, 2 with a flip test.
    """

    def __init__(
        self,
        networks: Sequence[PoseNetwork],
        detector: DeviceEngine | None,
        find: Finder,
        views: int,
    ) -> None:
        self.networks, self.views = list(networks), views
        self.detector, self.find = detector, find
        self.decoded = detector is not None and _is_decoded(detector)
        self.engines = [n.engine for n in networks if isinstance(n.engine, DeviceEngine)]
        self.device = self.engines[0].device
        self.most_people = min(e.max_batch for e in self.engines) // views
        self._local = threading.local()
        self._closed = False
        self._callers: list[int] = []
        self._left = threading.Condition()

    @contextmanager
    def scene(self, frames: Sequence[Any], *, events: bool = False) -> Iterator[DeviceScene]:
        """Check one call's frames and take them on. Raises InputError for a bad frame.

        events: whether to tell stages apart by CUDA events, as far as launches go one by one.
        """
        checked = check_frames(frames, device=True)
        caller = threading.get_ident()
        with self._left:
            if self._closed:
                raise InputError("The estimator is closed.")
            self._callers.append(caller)
        try:
            with kernels.on(self.device):
                worker = getattr(self._local, "worker", None)
                if worker is None:
                    worker = self._local.worker = Worker(self)
                try:
                    yield DeviceScene(worker, checked, events)
                except BaseException:
                    # What is still queued must not meet the next call's buffers.
                    worker.stream.synchronize()
                    raise
        finally:
            with self._left:
                self._callers.remove(caller)
                self._left.notify_all()

    def rehearsal(self, max_people: int) -> list[int]:
        """List the numbers of people that make every buffer and graph up to ``max_people``.

        Each comes twice: a size of work is recorded as a graph when it comes again.
        """
        buckets = {bucket(i + 1, self.most_people) for i in range(max_people)}
        return sorted([*buckets] * 2)

    def close(self) -> None:
        """Take no calls from now on, and wait for those of other threads."""
        own = threading.get_ident()
        with self._left:
            self._closed = True
            self._left.wait_for(lambda: all(caller == own for caller in self._callers))
        self._local = threading.local()


class Worker:
    """One thread's stream and buffers."""

    def __init__(self, stages: DeviceStages) -> None:
        self.stages = stages
        self.stream = kernels.cupy().cuda.Stream(non_blocking=True)
        self._staging: list[Any] = []
        self._bindings: dict[tuple[int, int], Binding] = {}
        self._plans: OrderedDict[Any, Plan] = OrderedDict()

    def binding(self, engine: DeviceEngine, batch: int) -> Binding:
        """Give an engine's buffers, which are made once a batch size."""
        key = (id(engine), batch)
        if key not in self._bindings:
            self._bindings[key] = engine.bind(batch)
        return self._bindings[key]

    def plan(self, key: Any, make: Any) -> Any:
        """Give the plan of that key; the one not used for longest gives way."""
        if key not in self._plans:
            with self.stream:
                self._plans[key] = make()
            if len(self._plans) > MOST_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]

    def place(self, slot: int, frame: Any, interface: ArrayInterface | None) -> Any:
        """Give a frame on the device: in place, or copied from the host."""
        if isinstance(frame, Nv12Frame):
            y, uv = (
                self.place(slot + i, plane, device_interface(plane))
                for i, plane in enumerate((frame.y, frame.uv))
            )
            return replace(frame, y=y, uv=uv)
        if interface is not None or not isinstance(frame, np.ndarray):
            return kernels.taken(frame, interface, self.stream)
        while len(self._staging) <= slot:
            self._staging.append(kernels.Staging())
        with self.stream:
            return self._staging[slot].upload(frame)


class DeviceScene:
    """The frames of one call. ``times``: milliseconds of each stage on the device."""

    def __init__(self, worker: Worker, frames: CheckedFrames, events: bool) -> None:
        self._worker, self._stages, self._frames = worker, worker.stages, frames
        self._events = events
        self._rows: NDArray[Any] | None = None
        self._arrays: list[Any] = []
        self.times: dict[str, float] = {}

    def detect(self, which: Sequence[int], score_threshold: float) -> list[Boxes]:
        """Find the boxes of some of the frames, best first; one wait a batch of the detector's."""
        engine, worker = self._stages.detector, self._worker
        if engine is None:
            return self._stages.find([self._frames[i] for i in which], score_threshold)
        rows, found = self._table(), []
        for start in range(0, len(which), engine.max_batch):
            part = list(which[start : start + engine.max_batch])
            batch = bucket(len(part), engine.max_batch)
            sizes = [frame_size(self._frames[i]) for i in part]
            plan = worker.plan(
                ("detect", batch, score_threshold),
                lambda b=batch: DetectPlan(
                    worker.stream,
                    engine,
                    worker.binding(engine, b),
                    b,
                    score_threshold,
                    self._stages.decoded,
                ),
            )
            found += plan(rows[part], sizes)
        return found

    def people(
        self,
        counts: Sequence[int],
        boxes: NDArray[np.float64],
        box_scores: NDArray[np.float64],
        decode: Decode,
        selection: Selection,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Suppressed | None]]:
        """Find the keypoints (N, K, 2), and scores (N, K), of each frame's ``counts`` people.

        boxes: (N, 4) of all frames in turn; box_scores: (N,). Also returns what OKS-NMS keeps of
        each frame. Waits for the device once. What comes back is overwritten by the thread's next
        call.
        """
        stages, worker = self._stages, self._worker
        rows, most = self._table(), stages.most_people
        parts = [most] * ((len(boxes) - 1) // most)
        parts.append(bucket(len(boxes) - sum(parts), most))
        frames = 1
        while frames < len(counts):
            frames *= FRAMES_STEP
        rule = (decode, selection.nms, selection.oks_threshold, selection.person_score)
        plan: PosePlan = worker.plan(
            ("people", tuple(parts), frames, *rule),
            lambda: PosePlan(
                worker.stream,
                stages.networks,
                [
                    [worker.binding(e, part * stages.views) for e in stages.engines]
                    for part in parts
                ],
                parts,
                frames,
                stages.views,
                decode,
                selection,
            ),
        )
        result = plan(rows, counts, boxes, box_scores, events=self._events)
        self.times = plan.times
        return result

    def _table(self) -> NDArray[Any]:
        """Give what the kernels need to know of the frames, which go to the device once."""
        if self._rows is None:
            worker = self._worker
            # Outside the worker's stream: a CuPy array belongs to the caller's current one.
            pairs = zip(self._frames, self._frames.interfaces, strict=True)
            there = [worker.place(2 * i, *pair) for i, pair in enumerate(pairs)]
            with worker.stream:
                self._rows, self._arrays = kernels.frame_rows(there)
        return self._rows
