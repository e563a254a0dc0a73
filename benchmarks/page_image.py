"""The documentation's image of the live page: a clip at its own speed, as a camera would give it.

    python benchmarks/page_image.py vtest.mp4

Needs Chromium, and a machine that does nothing else: the page shows the rate and the latency of
the moment, and nothing is written below 8 frames a second.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.media import VideoReader
from pcr_rt.streaming.page import LivePage
from pcr_rt.streaming.sources import FrameSource

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "docs" / "images" / "live_page.jpg"
WINDOW = (1000, 1000)
SECONDS = 8
LEAST_FPS = 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    clip = parser.parse_args().clip
    opened = threading.Event()
    with PoseEstimator() as estimator:
        estimator.warmup()
        page = LivePage(port=0)
        source = FrameSource(at_own_speed(clip, opened), live=True)
        source.name = "camera 0"
        stream = PoseStream(source, estimator, sinks=[page])
        thread = threading.Thread(target=stream.run, daemon=True)
        thread.start()
        with stream:
            taken = asyncio.run(screenshot(page.url, opened))
            stats = stream.stats[0]
    print(f"{stats.fps:.1f} frames a second, {stats.dropped} of {stats.read} dropped")
    if stats.fps < LEAST_FPS:
        sys.exit("not written: the machine is busy")
    image = cv2.imdecode(np.frombuffer(taken.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(OUTPUT), image, [cv2.IMWRITE_JPEG_QUALITY, 85])


def at_own_speed(clip: Path, opened: threading.Event) -> Iterator[np.ndarray]:
    """Give the clip's frames when they are due, over and over."""
    opened.wait()
    for _ in itertools.count():
        start = time.monotonic()
        with VideoReader(clip) as video:
            for frame, seconds in video:
                time.sleep(max(0.0, start + seconds - time.monotonic()))
                yield frame


async def screenshot(url: str, opened: threading.Event) -> Path:
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from chromium import Chromium

    path = Path(tempfile.gettempdir(), "live_page.png")
    async with Chromium(WINDOW) as browser:
        await browser.open(url)
        opened.set()
        await browser.until("document.getElementById('state').textContent === 'live'", 60)
        await asyncio.sleep(SECONDS)
        await browser.screenshot(path)
    return path


if __name__ == "__main__":
    main()
