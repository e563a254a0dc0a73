"""What gpu_check times of each kernel: its inputs at a count, compulsory bytes and rivals.

A count is of people for their places, the crops, heatmaps and SimCC rows, of frames for
`letterbox` and `decode_boxes`, and of candidates, at most 1,024 a frame, for both suppressions.
People have COCO's 17 keypoints, a hand's 21 and a whole body's 133.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import rivals
from pcr_rt.cuda_kernels import kernels
from pcr_rt.geometry import box_to_region, crop_transform
from pcr_rt.skeleton import Skeleton
from rivals import CROP, LETTERBOX, MEAN, STD

MAP, JOINTS = (48, 64), 17
SKELETONS = ("coco17", "hand21", "coco_wholebody133")
MOST_KEYPOINTS = 100_000
"""Of all people together: their heatmaps take 1.2 GB."""
FRAME = (1920, 1080)
MOST_FRAMES = 64
"""Of 1080p, each in memory of its own: 400 MB."""
MOST_CANDIDATES = 1024
MAX_BOXES = 100


@dataclass
class Job:
    """One kernel at one count; the rivals take the library and the inputs."""

    name: str
    work: Callable[[], Any]
    compulsory_bytes: int
    inputs: tuple[Any, ...]
    in_cupy: Callable[..., Any]
    in_torch: Callable[..., Any]


def people_boxes(count: int, frame: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Draw boxes (N, 4) of standing people of many sizes, all over a frame (w, h)."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(0.2, 0.9, count) * frame[1]
    width = height * rng.uniform(0.3, 0.6, count)
    x, y = rng.uniform(0, frame[0] - width), rng.uniform(0, frame[1] - height)
    return np.stack([x, y, x + width, y + height], axis=1)


def crops_of(boxes: np.ndarray) -> np.ndarray:
    """Make the crop transforms (N, 2, 3) of boxes."""
    return crop_transform(*box_to_region(boxes, CROP[0] / CROP[1]), CROP, "udp")


def bytes_seen(transforms: np.ndarray, size: tuple[int, int], frame: tuple[int, int]) -> int:
    """Count the bytes of one BGR frame (w, h) that upright crops see, each byte once."""
    seen = np.zeros((frame[1], frame[0]), dtype=bool)
    for matrix in transforms:
        x = np.sort(matrix[0, 0] * np.array([0, size[0] - 1]) + matrix[0, 2])
        y = np.sort(matrix[1, 1] * np.array([0, size[1] - 1]) + matrix[1, 2])
        left, right = np.clip([np.floor(x[0]), np.ceil(x[1]) + 1], 0, frame[0]).astype(int)
        top, bottom = np.clip([np.floor(y[0]), np.ceil(y[1]) + 1], 0, frame[1]).astype(int)
        seen[top:bottom, left:right] = True
    return int(seen.sum()) * 3


def detector_outputs(cp: Any, frames: int, people: int) -> list[Any]:
    """Make RTMDet's maps (B, h, w, 5) with ``people`` sure points a frame, all else unsure."""
    outputs = [
        cp.full((frames, LETTERBOX[1] // s, LETTERBOX[0] // s, 5), -6, np.float32)
        for s in (8, 16, 32)
    ]
    for i in range(people):
        outputs[0][:, i // 50, i % 50] = cp.asarray([2.0 - 0.01 * i, 9, 20, 9, 20])
    return outputs


def jobs(cp: Any, count: int) -> Iterator[Job]:
    """Yield the jobs of all kernels at a count, one in memory at a time."""
    yield _places(cp, count)
    for dtype in (np.float32, np.float16):
        yield _crops(cp, count, dtype)
        if count <= MOST_FRAMES:
            yield _letterbox(cp, count, dtype)
        for skeleton in _skeletons(count):
            yield _heatmaps(cp, count, dtype, skeleton)
            yield _simcc(cp, count, dtype, skeleton)
    yield _boxes(cp, count)
    yield _box_nms(cp, count)
    for skeleton in _skeletons(count):
        yield _oks_nms(cp, count, skeleton)


def _skeletons(count: int) -> list[Skeleton]:
    return [s for s in map(Skeleton.load, SKELETONS) if count * len(s) <= MOST_KEYPOINTS]


def _named(kernel: str, skeleton: Skeleton) -> str:
    """Name a job; only other skeletons than COCO's are told."""
    return kernel if len(skeleton) == JOINTS else f"{kernel}_{len(skeleton)}"


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _places(cp: Any, count: int) -> Job:
    boxes = cp.asarray(people_boxes(count, FRAME))
    first = cp.asarray(np.array([0, count], np.int32))
    options: dict[str, Any] = {"size": CROP, "transform": "udp", "padding": rivals.PADDING}
    return Job(
        "place_people",
        lambda: kernels.place_people(boxes, first, grid=MAP, **options),
        count * (32 + 4 + 2 * 48 + 8),
        (boxes,),
        rivals.place,
        rivals.place,
    )


def _crops(cp: Any, count: int, dtype: Any) -> Job:
    frame = cp.asarray(_noise(FRAME[1], FRAME[0], 3))
    table = kernels.frame_table([frame])
    transforms = crops_of(people_boxes(count, FRAME))
    there, index = cp.asarray(transforms), cp.zeros(count, np.int32)
    written = count * 3 * CROP[0] * CROP[1] * np.dtype(dtype).itemsize
    return Job(
        f"crop_persons_{np.dtype(dtype).name}",
        lambda: kernels.crop_persons(table, index, there, CROP, MEAN, STD, dtype=dtype),
        bytes_seen(transforms, CROP, FRAME) + written,
        (frame, there),
        rivals.cupy_crop,
        rivals.torch_crop,
    )


def _letterbox(cp: Any, count: int, dtype: Any) -> Job:
    frames = cp.asarray(np.broadcast_to(_noise(FRAME[1], FRAME[0], 3), (count, *FRAME[::-1], 3)))
    table = kernels.frame_table(list(frames))
    written = count * 3 * LETTERBOX[0] * LETTERBOX[1] * np.dtype(dtype).itemsize
    return Job(
        f"letterbox_{np.dtype(dtype).name}",
        lambda: kernels.letterbox(table, LETTERBOX, MEAN, STD, dtype=dtype),
        frames.nbytes + written,
        (frames,),
        rivals.cupy_letterbox,
        rivals.torch_letterbox,
    )


def _heatmaps(cp: Any, count: int, dtype: Any, skeleton: Skeleton) -> Job:
    shape = (count, len(skeleton), MAP[1], MAP[0])
    maps = cp.random.random(shape, dtype=np.float32).astype(dtype)
    there = cp.asarray(crops_of(people_boxes(count, FRAME)))
    return Job(
        _named(f"decode_heatmaps_{np.dtype(dtype).name}", skeleton),
        lambda: kernels.decode_heatmaps(maps, there, method="dark"),
        maps.nbytes + count * len(skeleton) * 12,
        (maps, there),
        rivals.cupy_decode,
        rivals.torch_decode,
    )


def _simcc(cp: Any, count: int, dtype: Any, skeleton: Skeleton) -> Job:
    joints = len(skeleton)
    x, y = (
        cp.random.random((count, joints, round(side * rivals.SPLIT)), dtype=np.float32).astype(
            dtype
        )
        for side in CROP
    )
    there = cp.asarray(crops_of(people_boxes(count, FRAME)))
    return Job(
        _named(f"decode_simcc_{np.dtype(dtype).name}", skeleton),
        lambda: kernels.decode_simcc(x, y, there, split=rivals.SPLIT),
        x.nbytes + y.nbytes + count * joints * 12,
        (x, y, there),
        rivals.cupy_simcc,
        rivals.torch_simcc,
    )


def _boxes(cp: Any, count: int) -> Job:
    people = 32
    outputs = detector_outputs(cp, count, people)
    row = [min(LETTERBOX[0] / FRAME[0], LETTERBOX[1] / FRAME[1]), *FRAME]
    frames = cp.asarray(np.array([row] * count, np.float64))
    options: dict[str, Any] = {
        "input_size": LETTERBOX,
        "score_threshold": rivals.SCORE_THRESHOLD,
        "max_candidates": rivals.MAX_CANDIDATES,
    }
    return Job(
        "decode_boxes",
        lambda: kernels.decode_boxes_padded(outputs, "rtmdet", frames, None, **options),
        sum(one.nbytes for one in outputs) + count * (24 + 20 * people),
        (frames.astype(np.float32), *outputs),
        rivals.cupy_boxes,
        rivals.torch_boxes,
    )


def _each(count: int) -> tuple[int, int]:
    """Give the number of frames, and of candidates in each."""
    return -(-count // MOST_CANDIDATES), min(count, MOST_CANDIDATES)


def _box_nms(cp: Any, count: int) -> Job:
    batch, each = _each(count)
    boxes = cp.asarray(people_boxes(count, FRAME).reshape(batch, each, 4).astype(np.float32))
    scores = cp.asarray(np.tile(np.linspace(1, 0.2, each, dtype=np.float32), (batch, 1)))
    found = kernels.Candidates(boxes, scores, cp.asarray(np.full(batch, each, np.int32)))
    return Job(
        "box_nms",
        lambda: kernels.box_nms_padded(found, rivals.IOU_THRESHOLD, MAX_BOXES),
        count * 20,
        (boxes,),
        rivals.box_nms,
        rivals.box_nms,
    )


def _oks_nms(cp: Any, count: int, skeleton: Skeleton) -> Job:
    batch, each = _each(count)
    joints, sigmas = len(skeleton), skeleton.sigma_array
    boxes = people_boxes(count, FRAME)
    places = np.random.default_rng(1).random((count, joints, 2))
    points = boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2])
    # Every second person is the one before, a little moved: somebody to suppress.
    points[1::2] = points[: count // 2 * 2 : 2] + 0.5
    keypoints = cp.asarray(points.astype(np.float32))
    areas = cp.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    scores = cp.asarray(np.tile(np.linspace(1, 0.2, each), batch))
    first = cp.asarray(np.arange(batch + 1, dtype=np.int32) * each)
    return Job(
        _named("oks_nms", skeleton),
        lambda: kernels.oks_nms_padded(
            keypoints,
            scores,
            areas,
            first,
            sigmas=sigmas,
            method="hard",
            threshold=rivals.OKS_THRESHOLD,
        ),
        keypoints.nbytes + areas.nbytes + scores.nbytes,
        (
            keypoints.reshape(batch, each, joints, 2),
            areas.reshape(batch, each).astype(np.float32),
            cp.asarray((1 / (2 * (2 * sigmas) ** 2)).astype(np.float32)),
        ),
        rivals.oks_nms,
        rivals.oks_nms,
    )
