"""The array operations around the networks on an NVIDIA GPU, through CuPy.

Same names, arguments and results as :mod:`pcr_rt.cuda_kernels.reference`, with CuPy arrays for
NumPy ones. Inputs may be CuPy arrays, anything with ``__cuda_array_interface__`` (both are used in
place) or NumPy arrays (copied to the device). Work is queued on the current stream of the current
device; nothing waits for it, except functions whose results' lengths the host has to know:
``decode_boxes``, ``box_nms`` and ``oks_nms``. The ``*_padded`` variants of those leave the lengths
on the device and take many frames in one launch.
"""

from __future__ import annotations

from pcr_rt.cuda_kernels.kernels.boxes import (
    Candidates,
    box_nms,
    box_nms_padded,
    decode_boxes,
    decode_boxes_padded,
)
from pcr_rt.cuda_kernels.kernels.crops import crop_persons, letterbox
from pcr_rt.cuda_kernels.kernels.heatmaps import decode_heatmaps, decode_simcc
from pcr_rt.cuda_kernels.kernels.launch import FRAME, FrameTable, cupy, frame_rows, frame_table
from pcr_rt.cuda_kernels.kernels.oks import oks_nms, oks_nms_padded
from pcr_rt.cuda_kernels.kernels.places import Places, place_people
from pcr_rt.cuda_kernels.kernels.queue import (
    Graph,
    Packed,
    Staging,
    memory_of,
    on,
    pool_of,
    stream_of,
    taken,
)

__all__ = [
    "FRAME",
    "Candidates",
    "FrameTable",
    "Graph",
    "Packed",
    "Places",
    "Staging",
    "box_nms",
    "box_nms_padded",
    "crop_persons",
    "cupy",
    "decode_boxes",
    "decode_boxes_padded",
    "decode_heatmaps",
    "decode_simcc",
    "frame_rows",
    "frame_table",
    "letterbox",
    "memory_of",
    "oks_nms",
    "oks_nms_padded",
    "on",
    "place_people",
    "pool_of",
    "stream_of",
    "taken",
]
