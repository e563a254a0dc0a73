from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pcr_rt.benchmark.frames import frames_of, made_frame
from pcr_rt.errors import InputError
from pcr_rt.inference.detector import Detector
from pcr_rt.media import VideoReader, read_image


@pytest.mark.parametrize("people", [1, 4, 8, 16])
@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_detector_finds_the_people_of_a_made_frame(size: tuple[int, int], people: int) -> None:
    frame, boxes = made_frame(size, people)
    assert frame.shape == (size[1], size[0], 3)
    assert boxes.shape == (people, 4)
    found, _ = Detector(device="cpu")([frame], 0.4)[0]
    assert len(found) == people


def test_an_image_is_one_frame(sample_image: Path) -> None:
    (frame,) = frames_of(sample_image, 5)
    np.testing.assert_array_equal(frame, read_image(sample_image))


def test_frames_of_a_video_are_evenly_spread(sample_clip: Path) -> None:
    with VideoReader(sample_clip) as video:
        every = [frame for frame, _ in video]
    step = len(every) // 4
    found = frames_of(sample_clip, 4)
    assert len(found) == 4
    for frame, expected in zip(found, every[::step], strict=False):
        np.testing.assert_array_equal(frame, expected)
    assert len(frames_of(sample_clip, len(every) + 1)) == len(every)


def test_a_file_that_is_neither_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("nothing")
    with pytest.raises(InputError, match="cannot be opened"):
        frames_of(tmp_path / "a.mp4", 5)
