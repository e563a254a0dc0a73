from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pcr_rt.cli import app
from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader, VideoWriter
from pcr_rt.poses import Poses
from toy_streams import ToyEstimator, numbered

run = importlib.import_module("pcr_rt.cli.run")  # the package has a function of that name


class Estimator(ToyEstimator):
    def __enter__(self) -> Estimator:
        return self

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, frame: Any) -> Poses:
        return self.batch([frame])[0]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "make_estimator", lambda *given, **options: Estimator())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (64, 48), 25) as writer:
        for number in range(12):
            writer.write(numbered(number, size=(64, 48)))
    return path


def invoke(*arguments: Any) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["run", *map(str, arguments), "--json", "--no-track"])
    assert result.exit_code == 0, (result.output, result.exception)
    return dict(json.loads(result.stdout))


def test_a_video_becomes_a_video_and_json_lines(clip: Path, tmp_path: Path) -> None:
    answer = invoke(clip, "--output", tmp_path / "out")
    assert answer["frames"] == answer["people"] == 12
    assert answer["outputs"] == [
        str(tmp_path / "out" / "clip-poses.jsonl"),
        str(tmp_path / "out" / "clip-poses.mp4"),
    ]
    assert answer["sources"][0]["shown"] == 12
    lines = Path(answer["outputs"][0]).read_text().splitlines()
    assert [json.loads(line)["frame_index"] for line in lines] == list(range(12))
    with VideoReader(answer["outputs"][1]) as video:
        assert [round(t, 2) for _, t in video] == [round(k / 25, 2) for k in range(12)]


def test_each_of_several_videos_has_its_own_files(clip: Path, tmp_path: Path) -> None:
    other, again = tmp_path / "other.mov", tmp_path / "deep" / "clip.mp4"
    with VideoWriter(other, (32, 24), 25) as writer:
        for number in range(5):
            writer.write(numbered(number))
    again.parent.mkdir()
    again.write_bytes(clip.read_bytes())
    answer = invoke(other, clip, again, "-o", tmp_path / "out")
    assert [source["shown"] for source in answer["sources"]] == [5, 12, 12]
    expected = [("other-poses", 5, [32, 24]), ("clip-poses", 12, [64, 48])]
    for name, count, size in (*expected, ("clip-poses-1", 12, [64, 48])):
        stem = tmp_path / "out" / name
        found = [json.loads(line) for line in stem.with_suffix(".jsonl").read_text().splitlines()]
        assert [line["frame_index"] for line in found] == list(range(count))
        assert [line["image_size"] for line in found] == [size] * count
        with VideoReader(stem.with_suffix(".mp4")) as video:
            assert video.size == tuple(size)
            assert len(list(video)) == count
    assert len(answer["outputs"]) == len(list((tmp_path / "out").iterdir())) == 6


def test_what_is_read_is_not_written_over(clip: Path, tmp_path: Path) -> None:
    earlier = clip.rename(tmp_path / "clip-poses.mp4")
    clip.write_bytes(earlier.read_bytes())
    before = earlier.read_bytes()
    answer = invoke(clip, earlier, "-o", tmp_path)
    assert earlier.read_bytes() == before
    names = {Path(path).name for path in answer["outputs"]}
    assert {"clip-poses-1.mp4", "clip-poses-poses.mp4"} <= names


def test_serving_alone_writes_no_files(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = invoke(clip, "--serve", "127.0.0.1:0")
    assert answer["outputs"] == []
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no-such.mp4"], "does not exist"),
        (["97"], "Camera 97 does not exist"),
        (["rtsp://127.0.0.1:9/a"], "cannot be opened"),
        (["{clip}", "--width", "640"], "width cannot be chosen"),
        (["{clip}", "--serve", "nowhere"], "no address"),
        (["{clip}", "--output", "{clip}/x"], "cannot be written"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str],
    complaint: str,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [argument.format(clip=clip) for argument in arguments]
    result = CliRunner().invoke(app, ["run", *given])
    assert isinstance(result.exception, InputError)
    assert complaint in str(result.exception)
    assert [p for p in tmp_path.rglob("*.jsonl")] == []  # nothing half-begun is left


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("0", "camera-0"),
        ("clip.mp4", "clip-poses"),
        ("csi://0", "csi-0"),
        ("rtsp://me:secret@10.0.0.2:554/live?x=1", "rtsp-10.0.0.2-554-live-x-1"),
        ("videotestsrc ! identity", "videotestsrc-identity"),
    ],
)
def test_files_are_named_after_the_source(
    source: str, stem: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip.parent)
    output = Path("out")
    assert run._files([source, source], output) == [output / stem, output / f"{stem}-1"]


class Page:
    def __init__(self, url: str, is_local: bool) -> None:
        self.url, self.is_local = url, is_local


def test_a_terminal_shows_the_address_for_phones_as_a_qr_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV reads it from the half blocks, of which the full one is two light modules."""
    url = "http://192.168.1.23:8080/?token=ViCJ8WTSkoL8JHtmhGx-gA"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run._announce(Page(url, is_local=False))
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == f"Live page: {url}"
    halves = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}
    rows = [row for line in lines if line for row in zip(*(halves[c] for c in line), strict=True)]
    code = np.kron(np.array(rows, np.uint8) * 255, np.ones((8, 8), np.uint8))
    code = cv2.copyMakeBorder(code, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255)
    assert cv2.QRCodeDetector().detectAndDecode(code)[0] == url

    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    run._announce(Page(url, is_local=False))
    assert capsys.readouterr().err == f"Live page: {url}\n"


def test_a_page_for_this_machine_says_how_phones_get_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run._announce(Page("http://127.0.0.1:8080/", is_local=True))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--serve 0.0.0.0:8080" in said


def test_how_people_are_drawn_reaches_the_files(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In videos and images alike: --colours and --scores are `Poses.draw`'s."""
    asked: list[dict[str, Any]] = []
    draw = Poses.draw

    def note(self: Poses, image: Any, **options: Any) -> Any:
        asked.append(options)
        return draw(self, image, **options)

    monkeypatch.setattr(Poses, "draw", note)
    invoke(clip, "--output", tmp_path / "out", "--colours", "sides", "--scores")
    assert asked == [{"colours": "sides", "scores": True}] * 12
    folder = tmp_path / "in"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((48, 64, 3), np.uint8))
    asked.clear()
    invoke(folder, "--output", tmp_path / "bulk", "--scores")
    invoke(folder / "a.png", "--output", tmp_path / "one", "--scores")
    assert asked == [{"colours": "people", "scores": True}] * 2
