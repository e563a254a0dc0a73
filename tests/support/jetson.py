"""Pipelines for a Jetson, run by an ordinary GStreamer."""

from __future__ import annotations

import subprocess


def as_here(pipeline: str) -> str:
    """With elements and memory that every GStreamer has."""
    assert "nvvidconv" in pipeline
    return pipeline.replace("(memory:NVMM)", "").replace("nvvidconv", "videoconvert")


def has_element(name: str) -> bool:
    return subprocess.run(["gst-inspect-1.0", "--exists", name]).returncode == 0


def can_decode() -> bool:
    """Tell whether it decodes H.264 in MP4 and RTP."""
    return has_element("avdec_h264") or has_element("openh264dec")
