from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pcr_rt.cli import app
from pcr_rt.errors import InputError
from pcr_rt.media import VideoReader, VideoWriter
from toy_streams import ToyEstimator, numbered

run = importlib.import_module("pcr_rt.cli.run")  # the package has a function of that name


class Estimator(ToyEstimator):
    def __enter__(self) -> Estimator:
        return self

    def __exit__(self, *error: object) -> None: ...


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
