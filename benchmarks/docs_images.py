"""The images of the README and the documentation, from the package's samples: ``make images``.

Writes docs/images/demo.webp, an animation of the sample clip as `PoseStream` gives it, and
docs/images/street.jpg.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2

from pcr_rt import PoseEstimator, PoseStream
from pcr_rt.annotate import SAMPLE_CLIP

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
STREET = SAMPLE_CLIP.with_name("street.jpg")
FIRST, LAST = 42, 144
"""Of the clip: from when both people can be seen until one of them turns away to jump off."""
EVERY = 2
WIDTH, QUALITY = 720, 72


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    animation = cv2.Animation()
    with PoseEstimator() as estimator:
        frames = []
        for frame, poses in islice(PoseStream(SAMPLE_CLIP, estimator), LAST):
            if poses.frame_index >= FIRST and poses.frame_index % EVERY == 0:
                drawn = poses.draw(frame)
                height = round(WIDTH * drawn.shape[0] / drawn.shape[1])
                frames.append(cv2.resize(drawn, (WIDTH, height), interpolation=cv2.INTER_AREA))
        street = cv2.imread(str(STREET))
        cv2.imwrite(str(FOLDER / "street.jpg"), estimator(street).draw(street))
    animation.frames = frames
    animation.durations = [round(1000 * EVERY / 30)] * len(frames)
    path = FOLDER / "demo.webp"
    cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    print(f"{path.name}: {len(frames)} frames, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
