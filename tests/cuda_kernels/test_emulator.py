"""The emulator itself: mistakes planted in the kernels have to be found."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from device_arrays import OnDevice
from emulation import SOURCES, CrashError, EmulatedKernels, compile_kernels
from pcr_rt.cuda_kernels import reference
from pcr_rt.inference.selection import person_scores
from pcr_rt.skeleton import Skeleton

RNG = np.random.default_rng(0)
MAPS = RNG.random((2, 17, 31, 23), dtype=np.float32)
MAPS[:, :, 10:13, 8:11] += 1
FRAME = RNG.integers(0, 256, (21, 17, 3), dtype=np.uint8)
MATRICES = np.array([[[1.9, 0.1, -2.2], [0.2, 3.1, -1.5]], [[1, 0, 3.5], [0, 1, 12.5]]])
BOXES = np.concatenate([xy := RNG.uniform(0, 30, (300, 2)), xy + 12], axis=1).astype(np.float32)
SCORES = RNG.random(300)
PEOPLE = RNG.uniform(0, 30, (4, 17, 2)).repeat(3, axis=0) + RNG.uniform(0, 9, (12, 17, 2))
PEOPLE = PEOPLE.astype(np.float32)
AREAS = RNG.uniform(400, 4000, 12)
JOINTS = (
    RNG.random((12, 17)).astype(np.float32) * np.linspace(0.3, 1, 12, dtype=np.float32)[:, None]
)
BODIES = np.concatenate([one := RNG.uniform(0, 30, (3, 133, 2)), one + 4]).astype(np.float32)
HAND_MAPS = RNG.random((2, 21, 13, 10), dtype=np.float32)
BODY_SIGMAS = Skeleton.load("coco_wholebody133").sigma_array
DETS = [np.concatenate([BOXES[None], SCORES[None, :, None]], axis=2).astype(np.float32)]


def heatmaps(backend):
    return backend.decode_heatmaps(MAPS, MATRICES, method="dark")


def ties(backend):
    return backend.decode_heatmaps(np.ones((1, 2, 9, 40), np.float32), MATRICES[:1], method="none")


def crops(backend):
    return backend.crop_persons([FRAME], np.zeros(2, int), MATRICES, (13, 9), (0,) * 3, (1,) * 3)


def places(backend):
    options = {"size": (12, 16), "transform": "udp", "padding": 1.25, "grid": (6, 8)}
    first = np.array([0, 3, 3, 40], np.int32)
    return backend.place_people(BOXES[:41].astype(float), first, mirrored=True, **options)


def boxes(backend):
    options = {"input_size": (64, 64), "score_threshold": 0.1}
    one = np.ones(1), np.array([(64, 64)])
    return backend.decode_boxes(DETS, "dets", *one, **options)[0]


def suppression(backend):
    return backend.box_nms(BOXES, SCORES, 0.3, 300)


def ranked(backend, rule="mean>0.2"):
    """Soft OKS-NMS of people whose scores come from their keypoints'."""
    totals = SCORES[:12] * person_scores(JOINTS, rule)
    if backend is reference:
        return reference.oks_nms(PEOPLE, totals, AREAS, method="soft")
    people = (PEOPLE, SCORES[:12], AREAS, np.array([0, 12], np.int32))
    keep, scores, kept = backend.oks_nms_padded(
        *map(OnDevice, people),
        method="soft",
        keypoint_scores=OnDevice(JOINTS),
        person_score=rule,
    )
    return keep[: kept[0]], scores[: kept[0]]


def ranked_by_squares(backend):
    return ranked(backend, "rms")


def bodies(backend):
    """Soft OKS-NMS of whole bodies: no score is right unless all 133 keypoints count."""
    return backend.oks_nms(BODIES, SCORES[:6], AREAS[:6], sigmas=BODY_SIGMAS, method="soft")


def flipped_hands(backend):
    """The flip average of 21 maps of which each has another mirror image."""
    mirrored = HAND_MAPS[..., ::-1].copy()
    return backend.decode_heatmaps(
        HAND_MAPS, MATRICES, method="none", mirrored=mirrored, flip=np.arange(21)[::-1]
    )


# What is replaced in which file, the call that meets it, and how it shows.
WRONG, STUCK, OUT = "wrong result", "threads that wait", "sanitizer"
BARRIER = "__syncthreads();"
MUTANTS = {
    "no barrier after the warps' maxima": (
        "decode_heatmaps.cu",
        f"of_warp[thread / 32] = best;\n    {BARRIER}",
        "of_warp[thread / 32] = best;",
        heatmaps,
        {WRONG},
    ),
    "a barrier that only some threads meet": (
        "decode_heatmaps.cu",
        "if (thread < 25) {",
        f"if (thread < 25) {{ {BARRIER}",
        heatmaps,
        {STUCK},
    ),
    "half of the lanes in the mask": (
        "first_maximum.cuh",
        "0xffffffffu, best.value",
        "0x0000ffffu, best.value",
        heatmaps,
        {STUCK},
    ),
    "the last step of a reduction is left out": (
        "first_maximum.cuh",
        "distance > 0",
        "distance > 1",
        heatmaps,
        {WRONG},
    ),
    "words read beyond the frame's last pixel": (
        "frame.cuh",
        "column < frame.width - 3",
        "column < frame.width - 1",
        crops,
        {OUT},
    ),
    "no barrier after the transform": (
        "crop_persons.cu",
        BARRIER,
        "",
        crops,
        {WRONG, OUT},
    ),
    "a person past the end": (
        "place_people.cu",
        "if (i >= people) return;",
        "",
        places,
        {OUT},
    ),
    "the last person of a frame in the next": (
        "place_people.cu",
        "first[frame + 1] <= i",
        "first[frame + 1] <= i + 1",
        places,
        {WRONG, OUT},
    ),
    "a person at a place that is not used": (
        "place_people.cu",
        "i < first[frames]",
        "i <= first[frames]",
        places,
        {WRONG, OUT},
    ),
    "the mirrored crop where the plain one is": (
        "place_people.cu",
        "view ? left + step_x * last : left",
        "left",
        places,
        {WRONG},
    ),
    "a point past the end": (
        "decode_boxes.cu",
        "if (point < points) {",
        "if (point <= points) {",
        boxes,
        {OUT},
    ),
    "ranks from a tile that is still being written": (
        "decode_boxes.cu",
        f"            }}\n            {BARRIER}",
        "            }",
        boxes,
        {WRONG},
    ),
    "the later of two equal maxima": (
        "first_maximum.cuh",
        "b.index < a.index",
        "b.index > a.index",
        ties,
        {WRONG},
    ),
    "no barrier between rounds": (
        "greedy.cuh",
        f"of_warp[i]);\n    {BARRIER}",
        "of_warp[i]);",
        suppression,
        {WRONG, STUCK},
    ),
    "joints that nobody sees count": (
        "oks_nms.cu",
        "if (rule == MEAN_ABOVE_A_FIFTH && !(score > 0.2)) continue;",
        "",
        ranked,
        {WRONG},
    ),
    "a mean instead of squares": (
        "oks_nms.cu",
        "rule == ROOT_MEAN_SQUARE ? score * score : score",
        "score",
        ranked_by_squares,
        {WRONG},
    ),
    "the first person's keypoint scores for everybody": (
        "oks_nms.cu",
        "person_score(keypoint_scores + i * joints, joints, rule)",
        "person_score(keypoint_scores, joints, rule)",
        ranked,
        {WRONG},
    ),
    "seventeen keypoints of any skeleton": (
        "oks_nms.cu",
        "    return sum / joints;\n}\n\n__device__ __forceinline__ float oks_fast",
        "    return sum / 17;\n}\n\n__device__ __forceinline__ float oks_fast",
        bodies,
        {WRONG},
    ),
    "people of seventeen keypoints in memory": (
        "oks_nms.cu",
        "const float* other = keypoints + i * joints * 2",
        "const float* other = keypoints + i * 17 * 2",
        bodies,
        {WRONG},
    ),
    "mirrored maps without a swap of sides": (
        "decode_heatmaps.cu",
        "(flip ? flip[joint] : joint)",
        "joint",
        flipped_hands,
        {WRONG},
    ),
    "one person's area for a pair": (
        "oks_nms.cu",
        "(a + b) / 2",
        "a",
        ranked,
        {WRONG},
    ),
}
"""One order of threads may hide a missing barrier; the two together must not."""


def same(found, expected):
    if isinstance(expected, (tuple, list)):
        return all(same(f, e) for f, e in zip(found, expected, strict=True))
    return found.shape == expected.shape and np.allclose(found, expected, atol=2e-3)


def outcomes(library, call):
    """What each order of threads shows; None where the result is right."""
    found = set()
    worker = EmulatedKernels(library)
    for worker.order in ("ascending", "descending"):
        try:
            found.add(None if same(call(worker), call(reference)) else WRONG)
        except CrashError as crash:
            known = re.search(r"ERROR: AddressSanitizer|runtime error", str(crash))
            found.add(OUT if known else crash)
            return found  # the worker has ended
        except RuntimeError as error:
            known = re.search(r"never come|while others wait|the mask", str(error))
            found.add(STUCK if known else error)
    worker.close()
    return found


@pytest.mark.parametrize("call", {id(mutant[3]): mutant[3] for mutant in MUTANTS.values()}.values())
def test_the_kernels_as_they_are_pass(kernel_library, call):
    assert outcomes(kernel_library, call) == {None}


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_are_found(name, tmp_path):
    file, text, replacement, call, expected = MUTANTS[name]
    folder = Path(shutil.copytree(SOURCES, tmp_path / "sources"))
    original = (folder / file).read_text()
    assert original.count(text) == 1
    (folder / file).write_text(original.replace(text, replacement))
    library = compile_kernels(tmp_path / "mutant.so", folder, optimise=0)
    found = outcomes(library, call)
    assert found & expected, found
    assert found <= expected | {None}
