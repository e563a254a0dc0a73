"""Frames of a camera."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pcr_rt.errors import InputError
from pcr_rt.geometry import Size
from pcr_rt.media.video_frames import DEFAULT_FPS

__all__ = ["Camera"]

log = logging.getLogger(__name__)


class Camera(AbstractContextManager["Camera"]):
    """A camera as frames, without end.

    camera: its number, or a device file. width, height, fps, fourcc ("MJPG") are asked of the
    driver; a warning tells what it gives instead. size, fps: what it gives. Raises InputError if
    there is no such camera or it gives no frame. Ends when it is unplugged.
    """

    def __init__(
        self,
        camera: int | str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        fourcc: str | None = None,
    ) -> None:
        self.camera = camera
        if fourcc is not None and len(fourcc) != 4:
            raise InputError(f"fourcc is {fourcc!r}: give four letters such as 'MJPG'.")
        # OpenCV 5 keeps these two functions elsewhere than OpenCV 4.
        logger: Any = getattr(cv2.utils, "logging", cv2)
        level = logger.getLogLevel()
        logger.setLogLevel(0)  # every backend that fails would be reported
        try:
            self._capture = cv2.VideoCapture(camera)
            # The format comes first: it decides which sizes and rates there are.
            if fourcc is not None:
                self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
            for what, value in (
                (cv2.CAP_PROP_FRAME_WIDTH, width),
                (cv2.CAP_PROP_FRAME_HEIGHT, height),
                (cv2.CAP_PROP_FPS, fps),
            ):
                if value is not None:
                    self._capture.set(what, value)
            works, frame = self._capture.read()
        finally:
            logger.setLogLevel(level)
        if not works:
            self.close()
            raise InputError(
                f"Camera {camera} does not exist or gives no frame: check its number and that no"
                " other program uses it."
            )
        self.size: Size = (frame.shape[1], frame.shape[0])
        rate = self._capture.get(cv2.CAP_PROP_FPS)  # 0, -1 or no number if none is told
        self.fps: float = rate if math.isfinite(rate) and rate > 0 else DEFAULT_FPS
        wanted = (width or self.size[0], height or self.size[1])
        if wanted != self.size:
            log.warning("Camera %s gives %dx%d instead of %dx%d.", camera, *self.size, *wanted)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        while True:
            works, frame = self._capture.read()
            if not works:
                return
            yield np.asarray(frame, dtype=np.uint8)

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()

    def __exit__(self, *error: object) -> None:
        self.close()
