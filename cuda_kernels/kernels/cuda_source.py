"""The CUDA sources as one text: what the run-time compiler is given."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = ["KERNELS", "source"]

FILES = (
    "place_people.cu",
    "crop_persons.cu",
    "letterbox.cu",
    "decode_heatmaps.cu",
    "decode_simcc.cu",
    "decode_boxes.cu",
    "box_nms.cu",
    "oks_nms.cu",
)
KERNELS: tuple[str, ...] = (
    "place_people",
    "crop_persons_float32",
    "crop_persons_float16",
    "letterbox_float32",
    "letterbox_float16",
    "decode_heatmaps_float32",
    "decode_heatmaps_float16",
    "decode_simcc_float32",
    "decode_simcc_float16",
    "decode_boxes_float32",
    "decode_boxes_float16",
    "box_nms_float32",
    "box_nms_float64",
    "oks_nms",
)
"""Every kernel, by its name in the compiled module."""

_INCLUDE = re.compile(r'#include "(\w+\.cuh)"\n')


@cache
def source() -> str:
    """Join all .cu files with the headers that they include, each header once.

    A compiler that is given one text needs no include path, and CuPy, which keeps compiled kernels
    by a hash of their source, notices a change in a header.
    """
    folder = files("pcr_rt.cuda_kernels")
    seen: set[str] = set()

    def expand(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = folder.joinpath(name).read_text().replace("#pragma once\n", "\n")

        def include(found: re.Match[str]) -> str:
            here = text.count("\n", 0, found.end()) + 1
            return f'{expand(found[1])}\n#line {here} "{name}"\n'

        return f'#line 1 "{name}"\n{_INCLUDE.sub(include, text)}'

    return "\n".join(expand(name) for name in FILES)
