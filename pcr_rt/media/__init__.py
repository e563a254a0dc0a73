"""Frames in and out: pictures, video files and cameras, as (H, W, 3) uint8 BGR arrays."""

from pcr_rt.media.camera import Camera
from pcr_rt.media.images import list_images, read_image, write_image
from pcr_rt.media.video_reader import VideoReader, is_video
from pcr_rt.media.video_writer import VideoWriter

__all__ = [
    "Camera",
    "VideoReader",
    "VideoWriter",
    "is_video",
    "list_images",
    "read_image",
    "write_image",
]
