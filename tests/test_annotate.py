from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pcr_rt import annotate
from pcr_rt.annotate import Summary, process_images, process_stream, run_demo
from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader, VideoWriter
from pcr_rt.poses import Poses
from pcr_rt.streaming.open import open_sources
from toy_streams import Collector, ToyEstimator, numbered


class Estimator(ToyEstimator):
    """Called with one frame, too."""

    def __call__(self, frame: NDArray[np.uint8]) -> Poses:
        return self.batch([frame])[0]


def save(path: Path, number: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), numbered(number, size=(64, 48)))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (64, 48), 25) as writer:
        for number in range(12):
            writer.write(numbered(number, size=(64, 48)))
    return path


# Images


def test_images_of_one_name_are_both_kept(tmp_path: Path) -> None:
    paths = [save(tmp_path / folder / "1.png", 30 * k) for k, folder in enumerate("ab")]
    summary = process_images(Estimator(), paths, tmp_path / "out")
    names = ["poses.jsonl", "1-poses.png", "1-poses-1.png"]
    assert summary.outputs == [tmp_path / "out" / name for name in names]
    found = lines(tmp_path / "out" / "poses.jsonl")
    assert [line["file"] for line in found] == [str(path) for path in paths]
    # The toy's joints lie at the frame's number: each image got its own people.
    assert [line["people"][0]["keypoints"][0][0] for line in found] == [0, 30]
    first, second = (cv2.imread(str(path)) for path in summary.outputs[1:])
    assert not np.array_equal(first, second)


def test_an_image_that_is_read_is_never_written(tmp_path: Path) -> None:
    own = [save(tmp_path / name, 0) for name in ("a.png", "a-poses.png")]
    before = [path.read_bytes() for path in own]
    process_images(Estimator(), own, tmp_path)
    assert [path.read_bytes() for path in own] == before
    assert (tmp_path / "a-poses-1.png").is_file()
    assert (tmp_path / "a-poses-poses.png").is_file()


def test_a_broken_image_is_left_out_unless_it_is_the_only_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = save(tmp_path / "a.png", 0), tmp_path / "b.png"
    bad.write_bytes(b"no image")
    done: list[tuple[int, int | None]] = []
    with caplog.at_level(logging.WARNING):
        summary = process_images(
            Estimator(), [bad, good], tmp_path / "out", progress=lambda *state: done.append(state)
        )
    assert (summary.frames, summary.people, summary.failed) == (1, 1, 1)
    assert done == [(1, 2), (2, 2)]
    assert "Left out: " in caplog.text
    with pytest.raises(InputError, match=r"b\.png"):
        process_images(Estimator(), [bad], tmp_path / "one")
    with pytest.raises(InputError, match="None of the 2 images can be read"):
        process_images(Estimator(), [bad, bad], tmp_path / "two")
    assert not (tmp_path / "two" / "poses.jsonl").exists()


# Streams


def test_a_stream_becomes_a_video_and_json_lines(clip: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int | None]] = []
    summary = process_stream(
        Estimator(),
        open_sources(clip),
        [tmp_path / "out" / "a"],
        progress=lambda *state: done.append(state),
        track=False,
    )
    assert (summary.frames, summary.people, summary.failed) == (12, 12, 0)
    assert summary.outputs == [tmp_path / "out" / name for name in ("a.jsonl", "a.mp4")]
    assert [line["frame_index"] for line in lines(summary.outputs[0])] == list(range(12))
    assert [source.shown for source in summary.sources] == [12]
    assert done == [(k, 12) for k in range(1, 13)]


def test_watching_ends_the_work(clip: Path) -> None:
    sink = Collector()
    summary = process_stream(
        Estimator(),
        open_sources(clip),
        [],
        sinks=[sink],
        watch=lambda result: result.poses.frame_index != 3,
        track=False,
    )
    assert summary.frames == 4
    assert (len(sink.seen), sink.closed) == (4, 1)
    assert summary.outputs == []


def test_ctrl_c_keeps_the_files(clip: Path, tmp_path: Path) -> None:
    def interrupted(result: Any) -> bool:
        raise KeyboardInterrupt

    summary = process_stream(
        Estimator(), open_sources(clip), [tmp_path / "a"], watch=interrupted, track=False
    )
    assert summary.frames == len(lines(tmp_path / "a.jsonl")) == 1
    with VideoReader(tmp_path / "a.mp4") as video:
        assert len(list(video)) == 1


def test_a_mistake_closes_all_sinks_and_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    sink = Collector()
    with pytest.raises(InputError, match="detect_every"):
        process_stream(
            Estimator(), open_sources(clip), [tmp_path / "a"], sinks=[sink], detect_every=0
        )
    assert sink.closed == 1
    assert list(tmp_path.iterdir()) == [clip]


def test_a_sink_that_fails_ends_a_recording(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the disk is full"):
        process_stream(Estimator(), open_sources(clip), [], sinks=[Collector(fail_at=2)])


# The demo and the summary


def test_the_demo_makes_a_sheet_of_frames(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotate, "SAMPLE_CLIP", clip)
    captions: list[str] = []

    def sheet(frames: Any, columns: int, cell: Any, texts: list[str]) -> NDArray[np.uint8]:
        captions.extend(texts)
        return np.zeros((10, 10, 3), np.uint8)

    monkeypatch.setattr(annotate, "contact_sheet", sheet)
    summary = run_demo(Estimator(), tmp_path / "out", sheet_frames=3)
    assert [path.name for path in summary.outputs] == ["demo.jsonl", "demo.mp4", "demo.png"]
    # The middle one of each four of the twelve frames.
    assert captions == [f"frame {k}: 1 person" for k in (2, 6, 10)]


def test_the_sample_clip_is_long_enough_for_the_demo(sample_clip: Path) -> None:
    assert sample_clip == annotate.SAMPLE_CLIP
    with VideoReader(sample_clip) as clip:
        assert clip.frames is not None
        assert clip.frames >= 180


def test_a_summary_in_figures() -> None:
    summary = Summary(frames=4, people=6, seconds=2.0, outputs=[Path("a")])
    summary.stages_ms["read"] += 10.0
    assert summary.to_dict() == {
        "frames": 4,
        "people": 6,
        "failed": 0,
        "fps": 2.0,
        "ms_per_frame": {"read": 2.5},
        "outputs": ["a"],
    }
    assert Summary().fps == 0.0
