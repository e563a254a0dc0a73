"""From frame to people, PCR-RT and rtmlib in turns on the same frames; then both with tracking.

    pip install --no-deps rtmlib==0.0.16 tqdm
    python benchmarks/pipeline.py MODELS [CLIP ...] [--frames 60] [--output FILE]

MODELS: a folder with rtmdet_nano_person_nms_dynamic.onnx and tinypose_256x192.onnx, which rtmlib
runs through its RTMDet and ViTPose, as it comes. CLIP: beside the sample clip, which is always
there. Ratios are to rtmlib's time for the same frame. "networks alone" are detector and pose
network on the inputs that PCR-RT makes of that frame: what no pipeline can go below. Tracking is by
segments of a clip, one after the other: PoseStream from its first result to its last, PoseTracker
with a detection every five frames; both get frames that are decoded already.

--cpu counts the processor time of this process in place of the clock on the wall: for a busy
machine, under ``taskset -c 0``. rtmlib's sessions are made anew then with one thread, which is what
PCR-RT takes on one core: ONNX Runtime would start one for each core of the machine, and they spin.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from common import machine, write_json
from numpy.typing import NDArray

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.annotate import SAMPLE_CLIP
from pcr_rt.benchmark import frames_of, in_turns, ratios, spread
from pcr_rt.engines import Engine
from pcr_rt.inference.detector import Detector
from pcr_rt.inference.estimator import STAGES
from pcr_rt.inference.loading import make_engine
from pcr_rt.inference.pose_network import PoseNetwork, crop_transforms, samples_to_frame
from pcr_rt.media import VideoReader
from pcr_rt.streaming.sources import FrameSource

Frame = NDArray[np.uint8]
Clock = Callable[[], float]
Work = list[tuple[Engine, NDArray[Any]]]
"""Engines with their inputs for one frame."""
WEIGHTS = "PP-TinyPose"
PEER = f"rtmlib, {WEIGHTS}"
PEER_MODELS = "rtmdet_nano_person_nms_dynamic.onnx", "tinypose_256x192.onnx"
PEER_DETECTS_EVERY = 5
MODELS = "pcr-tiny", "pcr-nano"
PAUSE_S = 0.1
"""rtmlib's ONNX Runtime workers spin for a while after a call and would slow the next."""
SEGMENT = 60
"""Frames of a clip's segment that is tracked."""
SURE = 0.3


class Recorder:
    """An engine that keeps what it was given last."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.spec, self.close = engine, engine.spec, engine.close
        self.work: Work = []

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        self.work.append((self.engine, images))
        return self.engine.run(images)


class Ours:
    """PCR-RT with one pose model."""

    def __init__(self, model: str | Path) -> None:
        self.engines = [Recorder(make_engine(m, device="cpu")) for m in (model, "rtmdet-nano")]
        pose, detector = self.engines
        self.recorded = PoseEstimator(pose, detector=Detector(detector))
        self.estimator = PoseEstimator(pose.engine, detector=Detector(detector.engine))
        self.stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.people: list[int] = []

    def work(self, frame: Frame) -> Work:
        """Find out what the networks have to do for a frame."""
        for engine in self.engines:
            engine.work.clear()
        self.recorded(frame)
        return [one for engine in self.engines for one in engine.work]

    def __call__(self, frame: Frame) -> None:
        self.people.append(len(self.estimator(frame)))
        for stage, milliseconds in self.estimator.timings.items():
            self.stages[stage].append(milliseconds)


class Peer:
    """rtmlib's solution of a detector and a pose model, as its users make it."""

    def __init__(self, folder: Path, *, one_thread: bool) -> None:
        from rtmlib import Custom, PoseTracker

        detector, pose = (str(folder / name) for name in PEER_MODELS)
        solution = partial(
            Custom,
            det_class="RTMDet",
            det=detector,
            det_input_size=(416, 416),
            pose_class="ViTPose",
            pose=pose,
            pose_input_size=(192, 256),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            self.solution = solution()
            self.tracker = PoseTracker(solution, det_frequency=PEER_DETECTS_EVERY)
        if one_thread:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            for owner in (self.solution, self.tracker):
                for tool in (owner.det_model, owner.pose_model):
                    tool.session = ort.InferenceSession(tool.onnx_model, options)
        self.people: list[int] = []

    def __call__(self, frame: Frame) -> None:
        # The solution itself would take a frame without boxes for one person.
        boxes = self.solution.det_model(frame)
        self.people.append(len(boxes))
        if len(boxes):
            self.solution.pose_model(frame, bboxes=boxes)


def frame_by_frame(
    clip: Path, count: int, peer: Peer, ours: dict[str, Ours], clock: Clock
) -> dict[str, Any]:
    """Measure whole frames without tracking, their stages and the networks alone."""

    def items() -> Iterator[tuple[Frame, dict[str, Work]]]:
        for frame in frames_of(clip, count):
            yield frame, {name: one.work(frame) for name, one in ours.items()}

    def networks(name: str, item: tuple[Frame, dict[str, Work]]) -> None:
        for engine, images in item[1][name]:
            engine.run(images)

    calls: dict[str, Callable[[Any], object]] = {PEER: lambda item: peer(item[0])}
    for name, one in ours.items():
        calls[name] = lambda item, one=one: one(item[0])
        calls[f"{name}, networks alone"] = partial(networks, name)
    in_turns(calls, itertools.islice(items(), 2))
    for one in (peer, *ours.values()):
        one.people.clear()
    for one in ours.values():
        for values in one.stages.values():
            values.clear()
    took = in_turns(calls, items(), pause_s=PAUSE_S, clock=clock)
    rows = {name: {"ms": spread(ms), "ratio": ratios(ms, took[PEER])} for name, ms in took.items()}
    for name, of in ((PEER, peer), *ours.items()):
        rows[name]["people"] = round(float(np.mean(of.people)), 2)
    for name, one in ours.items():
        rows[name]["stages_ms"] = {stage: spread(ms) for stage, ms in one.stages.items()}
        shares = np.array([one.stages[s] for s in ("crop", "decode", "suppress")]).sum(0)
        rows[name]["crop, decode and suppress of a frame"] = ratios(shares.tolist(), took[name])
    network = PoseNetwork(ours[WEIGHTS].engines[0].engine)
    return {
        "rows": rows,
        "frames": len(took[PEER]),
        "agreement_px": agreement(clip, count, peer, network),
    }


def agreement(clip: Path, count: int, peer: Peer, network: PoseNetwork) -> dict[str, Any]:
    """Measure how many pixels PP-TinyPose's sure joints lie apart in both, in the same boxes.

    as they come: rtmlib reads any model of its ViTPose class as one trained with UDP, whose samples
    lie elsewhere than those of PP-TinyPose; in one convention: its joints put back where PCR-RT has
    the same place of the heatmap.
    """
    estimator = PoseEstimator(network.engine, detector=None, score_threshold=0, nms=None)
    pose, last = peer.solution.pose_model, np.subtract(network.heatmap_size(), 1)
    apart: dict[str, list[float]] = {"as they come": [], "in one convention": []}
    for frame in frames_of(clip, count):
        boxes = peer.solution.det_model(frame)
        if not len(boxes):
            continue
        theirs, scores = pose(frame, bboxes=boxes)
        poses = estimator(frame, boxes=boxes)
        regions = np.array([pose.preprocess(frame, box)[1:] for box in boxes])[:, :, None]
        samples = ((theirs - regions[:, 0]) / regions[:, 1] + 0.5) * last
        crops = crop_transforms(boxes, network.spec)
        m = samples_to_frame(crops, network.spec, network.heatmap_size())
        placed = samples @ m[:, :, :2].swapaxes(1, 2) + m[:, None, :, 2]
        for values, joints in zip(apart.values(), (theirs, placed), strict=True):
            values += np.linalg.norm(poses.keypoints - joints, axis=-1)[scores > SURE].tolist()
    return {name: spread(values) for name, values in apart.items()}


def tracked(
    clip: Path, segments: int, peer: Peer, ours: dict[str, Ours], clock: Clock
) -> dict[str, Any]:
    """Measure milliseconds a frame with tracking, by segments in turns."""
    with VideoReader(clip) as video:
        fps, every = video.fps, [frame for frame, _ in itertools.islice(video, segments * SEGMENT)]
    parts = [every[i : i + SEGMENT] for i in range(0, len(every) - SEGMENT + 1, SEGMENT)]
    names = {
        f"{name}, detection every {words}": (name, asked)
        for name in MODELS
        for words, asked in (("0.5 s", "0.5s"), (f"{PEER_DETECTS_EVERY} frames", 5))
    }
    spent: dict[str, list[float]] = {name: [] for name in (PEER, *names)}
    people: dict[str, list[float]] = {name: [] for name in spent}
    for number, part in enumerate(parts):
        order = list(spent)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            time.sleep(PAUSE_S)
            if name == PEER:
                ms, shown = _tracker(peer, part, clock)
            else:
                model, asked = names[name]
                ms, shown = _stream(ours[model].estimator, part, fps, asked, clock)
            spent[name].append(ms)
            people[name].append(shown)
    return {
        "segments": len(parts),
        "rows": {
            name: {
                "ms": spread(ms),
                "ratio": ratios(ms, spent[PEER]),
                "people": round(float(np.mean(people[name])), 2),
            }
            for name, ms in spent.items()
        },
    }


def _tracker(peer: Peer, frames: Sequence[Frame], clock: Clock) -> tuple[float, float]:
    """Milliseconds and people of a frame."""
    peer.tracker.reset()
    peer.tracker(frames[0])
    people, start = 0, clock()
    for frame in frames[1:]:
        people += len(peer.tracker(frame)[0])
    return (clock() - start) * 1e3 / (len(frames) - 1), people / (len(frames) - 1)


def _stream(
    estimator: PoseEstimator,
    frames: Sequence[Frame],
    fps: float,
    detect_every: int | str,
    clock: Clock,
) -> tuple[float, float]:
    source = FrameSource(frames, fps=fps)
    with PoseStream(source, estimator, detect_every=detect_every) as stream:
        results = iter(stream)
        next(results)
        start = clock()
        people = sum(len(poses) for _, poses in results)
        return (clock() - start) * 1e3 / (len(frames) - 1), people / (len(frames) - 1)


def show(title: str, rows: dict[str, Any]) -> None:
    """Print the rows of a table."""
    print(f"\n{title}\n{'':42s}  ms P50    P95   of rtmlib (quartiles)")
    for name, row in rows.items():
        ms, ratio = row["ms"], row["ratio"]
        stages = row.get("stages_ms", {}).items()
        print(
            f"{name:42s} {ms['p50']:7.1f} {ms['p95']:6.1f}   {ratio['p50']:.2f}"
            f" ({ratio['p25']:.2f} to {ratio['p75']:.2f})  people {row.get('people', '')}  "
            + "  ".join(f"{stage} {figures['p50']:.1f}" for stage, figures in stages)
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--segments", type=int, default=5)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    info = machine()
    peer = Peer(args.models, one_thread=args.cpu)
    ours = {name: Ours(name) for name in MODELS}
    ours[WEIGHTS] = Ours(args.models / PEER_MODELS[1])
    clips: dict[str, Any] = {}
    for clip in (SAMPLE_CLIP, *args.clips):
        found = clips[clip.name] = {
            "frame by frame": frame_by_frame(clip, args.frames, peer, ours, clock)
        }
        show(f"{clip.name}, detection on every frame", found["frame by frame"]["rows"])
        for words, px in found["frame by frame"]["agreement_px"].items():
            print(f"PP-TinyPose in both, {words}: {px['p50']:.2f} px apart, P95 {px['p95']:.2f}")
        found["tracked"] = tracked(clip, args.segments, peer, ours, clock)
        show(f"{clip.name}, tracked", found["tracked"]["rows"])
    write_json(args.output, {"machine": info, "clock": clock.__name__, "clips": clips})


if __name__ == "__main__":
    main()
