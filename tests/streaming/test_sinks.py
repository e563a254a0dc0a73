from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pcr_rt.errors import InputError, MissingDependencyError
from pcr_rt.media import VideoReader
from pcr_rt.poses import Poses
from pcr_rt.streaming.results import Result, StageClock
from pcr_rt.streaming.sink_threads import SinkThread
from pcr_rt.streaming.sinks import (
    CocoSink,
    JsonLinesSink,
    OpenPoseSink,
    Sink,
    VideoSink,
    Window,
    fit,
    scaled,
)
from toy_streams import numbered, stream


def result(
    index: int = 0,
    *,
    people: int = 1,
    source: int = 0,
    size: tuple[int, int] = (64, 48),
    tracked: bool = False,
) -> Result:
    poses = Poses(
        keypoints=np.full((people, 17, 2), 10 + index),
        keypoint_scores=np.full((people, 17), 0.9),
        boxes=np.tile([5, 5, 20, 20], (people, 1)),
        scores=np.full(people, 0.8),
        ids=np.arange(people) + 7 if tracked else None,
        image_size=size,
        source=source,
        frame_index=index,
        timestamp=index / 10,
        age_ms=12.5,
    )
    return Result(np.full((size[1], size[0], 3), 60, np.uint8), poses, 10.0)


def fill(sink: Sink, results: list[Result]) -> None:
    for item in results:
        sink.write(item)
    sink.close()


def test_json_lines_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    sink = JsonLinesSink(path)
    assert sink.paths == []
    for index in range(3):
        sink.write(result(index, people=index, tracked=True))
        # Flushed: complete after every frame, before the end.
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == index + 1
    sink.close()
    assert sink.paths == [path]
    assert [len(line["people"]) for line in lines] == [0, 1, 2]
    assert lines[2]["people"][1]["id"] == 8
    back = Poses.from_dict(lines[2])
    assert (back.source, back.frame_index, back.timestamp, back.age_ms) == (0, 2, 0.2, 12.5)
    np.testing.assert_allclose(back.keypoints, 12)


def test_coco_results_are_valid_after_every_frame_and_read_by_pycocotools(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    sink = CocoSink(path)
    assert json.loads(path.read_text()) == []
    assert sink.paths == []
    for index, people in enumerate([2, 0, 1]):
        sink.write(result(index, people=people, tracked=True))
        entries = json.loads(path.read_text())
    sink.write(result(0, source=1))
    sink.close()
    assert [(e["image_id"], e["track_id"], e["timestamp"]) for e in entries] == [
        (0, 7, 0.0),
        (0, 8, 0.0),
        (2, 7, 0.2),
    ]
    assert sink.paths == [path, tmp_path / "a-1.json"]
    assert len(json.loads((tmp_path / "a-1.json").read_text())) == 1
    coco = pytest.importorskip("pycocotools.coco").COCO()
    coco.dataset = {"images": [{"id": k} for k in range(3)], "categories": [], "annotations": []}
    coco.createIndex()
    assert len(coco.loadRes(str(path)).getAnnIds(imgIds=[0])) == 2


def test_openpose_files_are_named_as_its_tools_expect(tmp_path: Path) -> None:
    fill(OpenPoseSink(tmp_path, "walk"), [result(0), result(12, people=2), result(1, source=1)])
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [
        "walk-1_000000000001_keypoints.json",
        "walk_000000000000_keypoints.json",
        "walk_000000000012_keypoints.json",
    ]
    table = json.loads((tmp_path / names[2]).read_text())
    assert len(table["people"]) == 2
    assert len(table["people"][0]["pose_keypoints_2d"]) == 51


def test_a_video_of_each_source_at_the_times_of_capture(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sink = VideoSink(path)
    fill(sink, [result(0), result(3), result(4), result(9, source=1)])
    assert sink.paths == [path, tmp_path / "a-1.mp4"]
    with VideoReader(path) as video:
        frames = list(video)
    np.testing.assert_allclose([t for _, t in frames], [0, 0.3, 0.4], atol=1e-3)
    assert frames[0][0].max() > 150  # somebody is drawn in
    with VideoReader(sink.paths[1]) as video:
        assert len(list(video)) == 1


def test_a_video_keeps_its_size_when_the_frames_change(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.mp4")
    fill(sink, [result(0), result(1, size=(32, 48)), result(2, size=(640, 480))])
    with VideoReader(tmp_path / "a.mp4") as video:
        assert [frame.shape for frame, _ in video] == [(48, 64, 3)] * 3
    tall = fit(np.full((48, 32, 3), 200, np.uint8), (64, 48))
    assert (tall[:, 16:48] == 200).all()
    assert (tall[:, :16] == 0).all()
    assert (tall[:, 48:] == 0).all()


def test_people_are_scaled_with_the_frame() -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[20:24, 40:44] = 255  # its centre is at (41.5, 21.5), in half the size at (20.5, 10.5)
    poses = Poses(
        keypoints=np.tile([41.5, 21.5], (1, 17, 1)),
        keypoint_scores=np.ones((1, 17)),
        boxes=[[39.5, 19.5, 43.5, 23.5]],
        scores=[1],
    )
    small, moved = scaled(frame, poses, 32)
    assert small.shape == (24, 32, 3)
    rows, columns = np.nonzero(small[..., 0] > 128)
    np.testing.assert_allclose(moved.keypoints[0, 0], [columns.mean(), rows.mean()])
    np.testing.assert_allclose(moved.boxes[0], [19.5, 9.5, 21.5, 11.5])
    assert scaled(frame, poses, 64) == (frame, poses)
    assert scaled(frame.transpose(1, 0, 2), poses, 32)[0].shape == (32, 24, 3)


@pytest.mark.parametrize("kind", [JsonLinesSink, CocoSink, VideoSink, OpenPoseSink])
def test_a_place_that_cannot_be_written_is_one_sentence(kind: type[Sink], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        kind(tmp_path / "file" / "a.mp4")


FULL_DISK = """
import json, resource, sys
sys.path[:0] = sys.argv[1:3]
from pcr_rt import PoseError
from pcr_rt.streaming import sinks
from test_sinks import result
sink = getattr(sinks, sys.argv[3])(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    for k in range(1000):
        sink.write(result(k))
except PoseError as error:
    print(k, error)
    sink.close()
"""


@pytest.mark.parametrize("kind", [JsonLinesSink, CocoSink, VideoSink])
def test_a_sink_is_for_one_stream(kind: type[Sink], tmp_path: Path) -> None:
    sink = kind(tmp_path / "out.mp4")
    stream([numbered(n) for n in range(3)], sinks=[sink], stop_on_sink_error=True).run()
    written = (tmp_path / "out.mp4").read_bytes()
    with pytest.raises(InputError, match="make a new sink for each stream"):
        stream([numbered(n) for n in range(3)], sinks=[sink], stop_on_sink_error=True).run()
    assert (tmp_path / "out.mp4").read_bytes() == written


def test_a_video_sink_refuses_names_at_once(tmp_path: Path, sample_clip: Path) -> None:
    with pytest.raises(InputError, match=r"give a file name in \.mp4"):
        VideoSink(tmp_path / "out.avi")
    copy = tmp_path / "walk.mp4"
    copy.write_bytes(sample_clip.read_bytes())
    with pytest.raises(InputError, match="is read and would be overwritten"):
        stream(copy, sinks=[VideoSink(tmp_path / "x" / ".." / "walk.mp4")])
    assert copy.read_bytes() == sample_clip.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
@pytest.mark.parametrize("kind", [JsonLinesSink, CocoSink])
def test_a_full_disk_keeps_what_was_written(kind: type[Sink], tmp_path: Path) -> None:
    here, path = Path(__file__).parent, tmp_path / "a.json"
    folders = [str(here), str(here.parent / "support")]
    command = [sys.executable, "-c", FULL_DISK, *folders, kind.__name__, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    written, _, message = done.stdout.partition(" ")
    assert "cannot be written (File too large): give another place." in message
    text = path.read_text()
    indexes = (
        [json.loads(line)["frame_index"] for line in text.splitlines()]
        if kind is JsonLinesSink
        else [entry["image_id"] for entry in json.loads(text)]
    )
    assert indexes == list(range(int(written)))
    assert len(indexes) > 5


def test_a_fault_in_a_sink_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Sink):
        name = "faulty"

        def write(self, result: Result) -> None:
            raise ZeroDivisionError("oops")

        def close(self) -> None: ...

    thread = SinkThread(Faulty(), StageClock())
    thread.start()
    for index in range(20):
        thread.offer(result(index), wait=True)
    thread.close()
    assert isinstance(thread.error, ZeroDivisionError)
    assert "Traceback" in caplog.text


def test_one_drawing_serves_all() -> None:
    item = result()
    assert item.annotated() is item.annotated()
    assert (item.frame == 60).all()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:           QT5\n    QT: YES\n")
    monkeypatch.setenv("DISPLAY", ":0")


def test_an_opencv_without_windows_names_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are those of the headless wheels' build information."""
    words = "\n  GUI:                           NONE\n\n  Media I/O: \n"
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: words)
    monkeypatch.setenv("DISPLAY", ":0")
    remedy = "'pip uninstall -y opencv-python-headless && pip install opencv-python'"
    with pytest.raises(MissingDependencyError, match=remedy):
        Window()


@pytest.mark.usefixtures("screen")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a screen by themselves")
def test_no_screen_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(MissingDependencyError, match="no screen: use the live page"):
        Window()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    Window()


@pytest.mark.usefixtures("screen")
def test_a_screen_that_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def imshow(*given: object) -> None:
        raise cv2.error("Can't initialize GTK backend.")

    monkeypatch.setattr(cv2, "imshow", imshow)
    with pytest.raises(MissingDependencyError, match="no screen"):
        Window().show(result())


@pytest.mark.usefixtures("screen")
@pytest.mark.parametrize(("key", "visible", "goes_on"), [(-1, 1, True), (ord("q"), 1, False)])
def test_a_window_ends_with_a_key(
    monkeypatch: pytest.MonkeyPatch, key: int, visible: float, goes_on: bool
) -> None:
    monkeypatch.setattr(cv2, "imshow", lambda *given: None)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *given: visible)
    assert Window().show(result()) is goes_on
