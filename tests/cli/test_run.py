"""`pcr-rt run`: what is written is what PoseEstimator says of the same frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt import PoseEstimator
from pcr_rt.poses import Poses
from toys import blob_frame, brightness_model, save

FRAMES = [blob_frame((90, 120), (25.0 + 4 * i, 70.0), sigma=9) for i in range(5)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Five frames at 10 a second, coded without loss."""
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 10)
        stream.width, stream.height, stream.pix_fmt = 90, 120, "bgr0"
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without(line: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in keys}


def test_an_image_with_the_shipped_models(cli: Any, sample_image: Path, tmp_path: Path) -> None:
    answer = cli("run", sample_image, "--output", tmp_path / "out", "--json")
    assert (answer.code, answer.err) == (0, "")
    with PoseEstimator() as estimator:
        expected = estimator(cv2.imread(str(sample_image)))
    assert len(expected) >= 3
    (line,) = lines(tmp_path / "out" / "poses.jsonl")
    assert line == {"file": "street.jpg", **expected.to_dict()}
    summary = answer.json
    assert (summary["frames"], summary["people"]) == (1, len(expected))
    assert summary["fps"] > 0
    assert {"read", "detect", "infer", "write"} <= set(summary["ms_per_frame"])
    image = tmp_path / "out" / "street-poses.jpg"
    assert summary["outputs"] == [str(tmp_path / "out" / "poses.jsonl"), str(image)]
    drawn, plain = cv2.imread(str(image)), cv2.imread(str(sample_image))
    assert drawn.shape == plain.shape
    # Something is drawn at the sure keypoints, and JPEG alone changes far less.
    sure = expected.keypoint_scores > 0.5
    x, y = expected.keypoints[sure].round().astype(int).T
    change = np.abs(drawn.astype(int) - plain).max(2)
    assert np.median(change[y, x]) > 40
    assert np.median(change) < 10


def test_text_says_what_was_found_and_written(cli: Any, toy: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "image.png", FRAMES[0])
    options = ("-m", toy, "--detector", "none", "-o", tmp_path / "out")
    answer = cli("run", image, *options)
    first, *paths = answer.out.splitlines()
    assert first.startswith("1 frame, 1 person, ")
    assert paths == [str(tmp_path / "out" / name) for name in ("poses.jsonl", "image-poses.png")]
    assert all(Path(path).is_file() for path in paths)


def test_a_folder_in_order_of_names(cli: Any, toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, frame in zip(("b.png", "c.bmp", "a.webp"), FRAMES, strict=False):
        save(folder / name, frame)
    (folder / "notes.txt").write_text("no image")
    options = ("-m", toy, "--detector", "none", "--no-track", "--json", "-o", tmp_path / "out")
    answer = cli("run", folder, *options)
    assert answer.json["frames"] == 3
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert names == {"poses.jsonl", "a-poses.webp", "b-poses.png", "c-poses.bmp"}
    found = lines(tmp_path / "out" / "poses.jsonl")
    assert [line["file"] for line in found] == ["a.webp", "b.png", "c.bmp"]
    with PoseEstimator(toy, detector=None) as estimator:
        for line in found:
            frame = cv2.imread(str(folder / line["file"]))
            assert without(line, "file") == estimator(frame).to_dict()
            assert len(line["people"]) == 1


@pytest.mark.parametrize(
    "option", [("--serve", "0"), ("--show",), ("--width", "640"), ("--decoder", "nvdec")]
)
def test_options_of_streams_are_refused_with_images(
    cli: Any, toy: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    path = save(tmp_path / "a.png", FRAMES[0])
    answer = cli("run", path, "-m", toy, "-o", tmp_path / "out", *option)
    assert answer.code == 2
    assert f"{option[0]} is for videos and cameras" in answer.err
    assert not (tmp_path / "out").exists()


def test_a_broken_image_in_a_folder_is_left_out(
    cli: Any, toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        save(folder / name, FRAMES[0])
    (folder / "b.png").write_bytes(b"no image")
    answer = cli("run", folder, "-m", toy, "-o", tmp_path / "out")
    assert answer.code == 1
    assert "b.png is no image" in caplog.text
    assert "images left out: 1" in answer.err
    assert [line["file"] for line in lines(tmp_path / "out" / "poses.jsonl")] == ["a.png", "c.png"]
    assert (tmp_path / "out" / "c-poses.png").is_file()
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(b"")
    answer = cli("run", folder, "-m", toy, "-o", tmp_path / "other")
    assert answer.code == 2
    assert "None of the 3 images can be read" in answer.err


@pytest.mark.skipif(sys.platform != "linux", reason="this system has no such names")
def test_a_name_that_is_no_utf8(toy: Path, tmp_path: Path) -> None:
    """In a process of its own: OpenCV ends it at such names."""
    image = save(tmp_path / "a.png", FRAMES[0]).rename(tmp_path / os.fsdecode(b"a\xff.png"))
    output = tmp_path / os.fsdecode(b"out\xe9")
    program = "from pcr_rt.cli import main; main()"
    options = ("-m", toy, "--detector", "none", "-o", output)
    subprocess.run([sys.executable, "-c", program, "run", image, *options], check=True)
    assert (output / os.fsdecode(b"a\xff-poses.png")).is_file()


def test_one_of_several_videos_that_is_broken(
    cli: Any, toy: Path, clip: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(clip.read_bytes()[:200])
    options = ("-m", toy, "--detector", "none", "--json", "-o", tmp_path / "out")
    answer = cli("run", clip, broken, *options)
    assert answer.code == 1
    assert answer.json["failed"] == 1
    first, second = answer.json["sources"]
    assert (first["shown"], first["error"]) == (5, None)
    assert "broken.mkv" in second["error"]


def test_a_video(cli: Any, toy: Path, clip: Path, tmp_path: Path) -> None:
    options = ("-m", toy, "--detector", "none", "--no-track", "--json", "-o", tmp_path / "out")
    answer = cli("run", clip, *options)
    assert answer.code == 0
    video, text = tmp_path / "out" / "clip-poses.mp4", tmp_path / "out" / "clip-poses.jsonl"
    assert answer.json["outputs"] == [str(text), str(video)]
    assert set((tmp_path / "out").iterdir()) == {text, video}
    found = lines(text)
    assert [line["frame_index"] for line in found] == [0, 1, 2, 3, 4]
    assert [line["timestamp"] for line in found] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    with PoseEstimator(toy, detector=None) as estimator:
        for line, frame in zip(found, FRAMES, strict=True):
            stream_only = ("source", "frame_index", "timestamp", "age_ms")
            assert without(line, *stream_only) == estimator(frame).to_dict()
    assert [Poses.from_dict(line).frame_index for line in found] == [0, 1, 2, 3, 4]
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 10)
        assert sum(1 for _ in container.decode(stream)) == 5


def test_options_reach_the_estimator(cli: Any, toy: Path, clip: Path, tmp_path: Path) -> None:
    """Each option's effect, by what the estimator itself does with it."""
    image = save(tmp_path / "image.png", FRAMES[2])
    for options, arguments in (
        (("--flip-test",), {"flip_test": True}),
        (("--score-threshold", "0.9"), {"score_threshold": 0.9}),
        (("--model", toy), {"model": [toy, toy]}),
    ):
        given = ("-m", toy, "--detector", "none", "-o", tmp_path / "out", *options)
        assert cli("run", image, *given).code == 0
        (line,) = lines(tmp_path / "out" / "poses.jsonl")
        with PoseEstimator(**{"model": toy, "detector": None, **arguments}) as estimator:
            assert without(line, "file") == estimator(FRAMES[2]).to_dict()
    with PoseEstimator(toy, detector=None) as plain:
        assert len(plain(FRAMES[2])) == 1  # which the threshold of 0.9 has to leave out


def test_a_detector_is_used(cli: Any, toy: Path, tmp_path: Path) -> None:
    """RTMDet-nano sees nobody in a blob, so there is no whole-frame phantom either."""
    image = save(tmp_path / "image.png", FRAMES[0])
    assert cli("run", image, "-m", toy, "-o", tmp_path / "out", "--json").json["people"] == 0
    (line,) = lines(tmp_path / "out" / "poses.jsonl")
    assert line["people"] == []


def test_a_camera_is_numbered(
    cli: Any, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Capture:
        def __init__(self, index: int) -> None:
            assert index == 3
            self.endless = cycle(FRAMES)

        def read(self) -> tuple[bool, Any]:
            return True, next(self.endless)

        def get(self, key: int) -> float:
            return 25.0

        def release(self) -> None:
            pass

    shown: list[Any] = []
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.setattr(cv2, "imshow", lambda title, frame: shown.append(frame.shape))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, which: 1.0)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:     QT5\n")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "waitKey", lambda wait: ord("q") if len(shown) == 4 else -1)
    options = ("-m", toy, "--detector", "none", "-o", tmp_path / "out", "--show", "--json")
    answer = cli("run", "3", *options)
    assert answer.code == 0
    found = lines(tmp_path / "out" / "camera-3.jsonl")
    assert len(found) == 4
    # A camera gives its newest frame, so some may have been left out.
    for key in ("frame_index", "timestamp"):
        values = [line[key] for line in found]
        assert values == sorted(set(values))
    assert (tmp_path / "out" / "camera-3.mp4").is_file()


def test_show_without_windows_says_how_to_get_them(
    cli: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a model is loaded: this one does not exist."""
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:     NONE\n")
    answer = cli("run", clip, "-m", tmp_path / "none.onnx", "-o", tmp_path / "out", "--show")
    assert answer.code == 2
    assert answer.err.startswith("error: The installed OpenCV has no windows")
    assert "pip install opencv-python" in answer.err
    assert not (tmp_path / "out").exists()


def test_show_ends_with_q(
    cli: Any, toy: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(cv2, "imshow", lambda title, frame: shown.append(frame.shape))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, which: 1.0)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:     QT5\n")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "waitKey", lambda wait: ord("q") if len(shown) == 2 else -1)
    options = ("-m", toy, "--detector", "none", "-o", tmp_path / "out", "--show", "--json")
    assert cli("run", clip, *options).json["frames"] == 2
    assert shown == [(120, 90, 3)] * 2


def test_output_survives_a_code_page(toy: Path, tmp_path: Path) -> None:
    """Windows' cp1252 knows no Japanese; the work is done before the name is printed."""
    image = save(tmp_path / "a.png", FRAMES[0]).rename(tmp_path / "写真.png")
    start = "from pcr_rt.cli import main; main()"
    options = ["-m", str(toy), "--detector", "none", "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", start, "run", str(image), *options],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u5199\u771f-poses.png" in done.stdout.replace(b"\n", b"")


def test_names_up_to_the_limit_of_the_file_system(cli: Any, toy: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", FRAMES[0]).rename(tmp_path / f"{'x' * 245}.png")
    answer = cli("run", image, "-m", toy, "--detector", "none", "-o", tmp_path / "out", "--json")
    assert answer.code == 0
    written = Path(answer.json["outputs"][1])
    assert written.is_file()
    assert written.name.endswith("x-poses.png")


@pytest.mark.parametrize("given", ["--skeleton", "--spec"])
def test_a_file_of_other_keypoints(cli: Any, tmp_path: Path, given: str) -> None:
    path = brightness_model(tmp_path / "hand.onnx", None, joints=21)
    folder = tmp_path / "images"
    folder.mkdir()
    image = save(folder / "a.png", FRAMES[0])
    spec = tmp_path / "spec.toml"
    spec.write_text('name = "hand"\nkind = "heatmap"\ninput_size = [48, 64]\nskeleton = "hand21"\n')
    value = "hand21" if given == "--skeleton" else str(spec)
    for source in (image, folder):
        out = tmp_path / f"out-{source.stem}"
        answer = cli(
            *("run", source, "--model", path, "--detector", "none", given, value),
            *("--output", out, "--score-threshold", "0"),
        )
        assert answer.code == 0, answer.err
        (line,) = lines(out / "poses.jsonl")
        assert line["skeleton"] == "hand21"
        assert np.shape(line["people"][0]["keypoints"]) == (21, 3)
    answer = cli("run", image, "--model", path, "--detector", "none", "--output", tmp_path / "no")
    assert answer.code == 2
    assert "give its skeleton with --skeleton" in answer.err
