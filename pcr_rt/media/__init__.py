"""Frames in and out: images, video files and cameras, as (H, W, 3) uint8 BGR arrays."""

from pcr_rt.media.camera import Camera
from pcr_rt.media.images import is_image, list_images, read_image, write_image
from pcr_rt.media.video_reader import VideoReader, is_video
from pcr_rt.media.video_writer import VideoWriter

__all__ = [
    "Camera",
    "VideoReader",
    "VideoWriter",
    "is_image",
    "is_video",
    "list_images",
    "read_image",
    "write_image",
]
