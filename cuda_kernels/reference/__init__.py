"""Run the array operations around the networks in NumPy and OpenCV.

This is the specification that the CUDA kernels are held to (same names, arguments and results),
and it is what runs on a machine without a GPU. All functions are pure and safe to call from several
threads at once.
"""

from __future__ import annotations

from pcr_rt.cuda_kernels.reference.boxes import box_nms, decode_boxes
from pcr_rt.cuda_kernels.reference.crops import crop_persons, letterbox
from pcr_rt.cuda_kernels.reference.heatmaps import DecodeMethod, decode_heatmaps, decode_simcc
from pcr_rt.cuda_kernels.reference.oks import SuppressMethod, oks_nms, pairwise_oks
from pcr_rt.cuda_kernels.reference.places import Places, place_people
from pcr_rt.frames import Nv12Frame

__all__ = [
    "DecodeMethod",
    "Nv12Frame",
    "Places",
    "SuppressMethod",
    "box_nms",
    "crop_persons",
    "decode_boxes",
    "decode_heatmaps",
    "decode_simcc",
    "letterbox",
    "oks_nms",
    "pairwise_oks",
    "place_people",
]
