"""What a user can get wrong: exit code 2 and one sentence that names the trouble."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")

from pcr_rt.media import VideoReader
from pcr_rt.models import ModelSpec
from toys import PLAIN, blob_frame, brightness_model, save

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)
PERSON = {
    "id": 1,
    "image_id": 1,
    "category_id": 1,
    "bbox": [10, 10, 60, 90],
    "area": 3000,
    "keypoints": [50, 60, 2] * 17,
    "num_keypoints": 17,
    "iscrowd": 0,
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save(tmp_path / "image.png", blob_frame((90, 120), (30.0, 70.0), sigma=9))


@pytest.fixture
def told(cli: Any) -> Any:
    """Runs the command line and returns its one sentence; anything else fails."""

    def run(*arguments: str | Path) -> str:
        answer = cli(*arguments)
        assert answer.code == 2, answer
        assert answer.out == ""
        lines = answer.err.splitlines()
        assert len(lines) == 1, answer.err
        assert lines[0].startswith("error: ")
        sentence = lines[0].removeprefix("error: ")
        assert re.fullmatch(r"\S.*[.)\]]", sentence), sentence
        # The end of a sentence, a full stop before a capital, occurs nowhere inside.
        assert not re.search(r"[.!?] +[A-Z]", sentence), sentence
        assert "Traceback" not in answer.err
        return sentence

    return run


def write(path: Path, content: bytes | str | Any) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("source", ["none.jpg", "none.mp4", "nowhere/"])
def test_sources_that_are_missing(told: Any, toy: Path, tmp_path: Path, source: str) -> None:
    sentence = told("run", tmp_path / source, "-m", toy, "-o", tmp_path / "out")
    assert source.rstrip("/") in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_images_cut_short(told: Any, toy: Path, tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 60, 3), dtype=np.uint8)
    path = save(tmp_path / f"image{suffix}", noise)
    write(path, path.read_bytes()[: path.stat().st_size // 2])
    assert "cut short" in told("run", path, "-m", toy, "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("letter.jpg", b"Dear reader,", "no image"),
        ("letter.txt", b"Dear reader,", "cannot be opened"),
        ("empty.png", b"", "no image"),
        ("letter.mp4", b"Dear reader,", "cannot be opened"),
        ("empty.mp4", b"", "cannot be opened"),
    ],
)
def test_files_that_are_neither_image_nor_video(
    told: Any, toy: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = write(tmp_path / name, content)
    sentence = told("run", path, "-m", toy, "-o", tmp_path / "out")
    assert words in sentence
    assert name in sentence


def test_a_video_cut_before_its_first_frame(
    told: Any, toy: Path, tmp_path: Path, sample_clip: Path
) -> None:
    path = write(tmp_path / "cut.mp4", sample_clip.read_bytes()[:600])
    assert "cut.mp4" in told("run", path, "-m", toy, "-o", tmp_path / "out")


def test_a_video_cut_short_leaves_what_could_be_read(
    told: Any, toy: Path, tmp_path: Path, sample_clip: Path
) -> None:
    data = sample_clip.read_bytes()
    path = write(tmp_path / "cut.mp4", data[: len(data) // 4])
    options = ("-m", toy, "--detector", "none", "-o", tmp_path / "out")
    sentence = told("run", path, *options)
    assert "cut.mp4 is damaged or cut short" in sentence
    count = len((tmp_path / "out" / "cut-poses.jsonl").read_text().splitlines())
    assert 0 < count < 90  # of 180
    assert f"{count} frames" in sentence
    with VideoReader(tmp_path / "out" / "cut-poses.mp4") as written:
        assert sum(1 for _ in written) == count


def test_outputs_that_are_inputs_too(told: Any, toy: Path, image: Path, tmp_path: Path) -> None:
    labels = {"images": [{"id": 1, "file_name": image.name}], "annotations": [PERSON]}
    annotations = write(tmp_path / "labels.json", labels)
    before = {path: path.read_bytes() for path in (toy, image, annotations)}
    for command in (
        ("export", toy, toy, "--precision", "fp16"),
        ("label", annotations, tmp_path, annotations, "-m", toy),
        ("eval", annotations, tmp_path, "-m", toy, "--results", annotations),
    ):
        assert "is read and would be overwritten" in told(*command)
    worst = ("verify", toy, toy, tmp_path, "--worst", tmp_path)
    assert "is read and would be overwritten" in told(*worst)
    assert "name a .json file" in told("label", tmp_path, image, "-m", toy)
    assert "give a name in .onnx" in told("export", toy, tmp_path / "small", "--precision", "fp16")
    assert {path: path.read_bytes() for path in before} == before


def test_no_video_is_written_over_another_source(
    cli: Any, toy: Path, sample_clip: Path, tmp_path: Path
) -> None:
    for name in ("walk.mp4", "walk-poses.mp4"):
        write(tmp_path / name, sample_clip.read_bytes())
    sources = (tmp_path / "walk.mp4", tmp_path / "walk-poses.mp4")
    answer = cli("run", *sources, "-m", toy, "--detector", "none", "-o", tmp_path)
    assert answer.code == 0, answer
    assert [source.read_bytes() == sample_clip.read_bytes() for source in sources] == [True, True]
    written = {path.name for path in tmp_path.glob("*.mp4")} - {source.name for source in sources}
    assert written == {"walk-poses-1.mp4", "walk-poses-poses.mp4"}


def test_a_folder_without_images(told: Any, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "has no images" in told("run", tmp_path / "folder", "-m", toy)


def test_a_camera_that_does_not_exist(told: Any, toy: Path, tmp_path: Path) -> None:
    sentence = told("run", "97", "-m", toy, "-o", tmp_path / "out")
    assert "Camera 97 does not exist" in sentence


@pytest.mark.parametrize("verb", ["run", "demo"])
def test_output_folders_that_cannot_be_written(
    told: Any, toy: Path, image: Path, tmp_path: Path, verb: str
) -> None:
    """A file stands where the folder, or a folder above it, should be."""
    source = [image] if verb == "run" else []
    for output in (image, image / "below"):
        sentence = told(verb, *source, "-m", toy, "-o", output)
        assert str(output) in sentence
        assert "cannot be written" in sentence


def test_models_that_are_missing_or_broken(
    told: Any, toy: Path, image: Path, tmp_path: Path
) -> None:
    broken = write(tmp_path / "broken.onnx", toy.read_bytes()[:200])
    other = write(tmp_path / "model.pt", b"x")
    for model, words in (
        ("pcr-huge", "shipped are"),
        (tmp_path / "none.onnx", "does not exist"),
        (broken, "cannot be loaded"),
        (write(tmp_path / "empty.onnx", b""), "cannot be loaded"),
        (other, f"checkpoint: 'pcr-rt export {other} {tmp_path / 'model.onnx'}'"),
        (
            write(tmp_path / "model.engine", b"x"),
            "cannot be vouched for" if importlib.util.find_spec("cupy") else "needs CuPy",
        ),
        ("rtmdet-nano", "detector"),
    ):
        assert words in told("run", image, "-m", model, "-o", tmp_path / "out")
        if model != "rtmdet-nano":
            detect = ("-m", toy, "--detector", model)
            assert words in told("run", image, *detect, "-o", tmp_path / "out")
    assert "not a detector" in told("run", image, "-m", toy, "--detector", toy)


def test_a_model_whose_outputs_contradict_its_metadata(
    told: Any, image: Path, tmp_path: Path
) -> None:
    joints = brightness_model(tmp_path / "joints.onnx", SPEC, joints=14)
    assert "contradict" in told("run", image, "-m", joints)
    larger = ModelSpec("toy", "heatmap", (192, 256), **PLAIN)
    size = brightness_model(tmp_path / "size.onnx", larger)
    assert "does not take" in told("run", image, "-m", size)
    simcc = brightness_model(tmp_path / "kind.onnx", ModelSpec("toy", "simcc", (48, 64), **PLAIN))
    assert "contradict" in told("run", image, "-m", simcc)


def test_a_device_that_does_not_exist(told: Any, toy: Path, image: Path) -> None:
    assert "'tpu'" in told("run", image, "-m", toy, "--device", "tpu")


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_are_read_as_their_colours(
    cli: Any, toy: Path, tmp_path: Path, channels: int
) -> None:
    frame = blob_frame((90, 120), (30.0, 70.0), sigma=9)
    if channels == 1:
        frame = np.ascontiguousarray(frame[..., 2])
        same = np.repeat(frame[..., None], 3, axis=2)
    else:
        same = frame
        frame = np.dstack([frame, np.full(frame.shape[:2], 9, np.uint8)])
    found = []
    for name, image in (("given", frame), ("same", same)):
        path = save(tmp_path / f"{name}.png", image)
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == image.shape
        options = ("-m", toy, "--detector", "none", "-o", tmp_path / name)
        assert cli("run", path, *options).code == 0
        line = json.loads((tmp_path / name / "poses.jsonl").read_text())
        assert len(line["people"]) == 1
        found.append(line["people"])
    assert found[0] == found[1]


NOT_COCO = [
    ("not json", "cannot be read as JSON"),
    ("[]", "no COCO person keypoints"),
    ({"images": []}, "no COCO person keypoints"),
    ({"images": [], "annotations": [{"image_id": 3}]}, "image 3"),
]
NOT_KEYPOINTS = [
    ({"annotations": [{"image_id": 1, "caption": "A horse."}]}, "no COCO person keypoints"),
    ({"annotations": [{**PERSON, "keypoints": [1, 2, 2] * 14}]}, "malformed"),
    ({"annotations": [{**PERSON, "bbox": [1, 2, float("nan"), 4]}]}, "malformed"),
    ({"annotations": [PERSON], "categories": [{"id": 1, "keypoints": ["head", "tail"]}]}, "tail"),
    ({"annotations": [PERSON], "images": [{"id": 1}]}, "file_name"),
    ({"annotations": [PERSON], "images": [{"id": 1, "file_name": "a.png"}]}, "a.png"),
]


@pytest.mark.parametrize(("content", "words"), NOT_COCO + NOT_KEYPOINTS)
def test_eval_of_annotations_that_are_not_coco_keypoints(
    told: Any, toy: Path, image: Path, tmp_path: Path, content: Any, words: str
) -> None:
    if isinstance(content, dict):
        content = {"images": [{"id": 1, "file_name": image.name}], **content}
    path = write(tmp_path / "labels.json", content)
    assert words in told("eval", path, tmp_path, "-m", toy)


@pytest.mark.parametrize(("content", "words"), [*NOT_COCO, *NOT_KEYPOINTS[1:]])
def test_label_of_annotations_that_are_not_coco_keypoints(
    told: Any, toy: Path, image: Path, tmp_path: Path, content: Any, words: str
) -> None:
    pytest.importorskip("torch")
    if isinstance(content, dict):
        content = {"images": [{"id": 1, "file_name": image.name}], **content}
    path = write(tmp_path / "labels.json", content)
    options = ("-m", toy, "--rule", "labels-first")
    assert words in told("label", path, tmp_path, tmp_path / "out.json", *options)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("verb", ["eval", "label"])
def test_annotations_and_results_in_places_that_are_not_there(
    told: Any, toy: Path, image: Path, tmp_path: Path, verb: str
) -> None:
    if verb == "label":
        pytest.importorskip("torch")

    def arguments(labels: Path, output: Path) -> list[str | Path]:
        option = [] if verb == "label" else ["--results"]
        return [verb, labels, tmp_path, *option, output, "-m", toy]

    record = {"id": 1, "file_name": image.name}
    labels = write(tmp_path / "labels.json", {"images": [record], "annotations": [PERSON]})
    sentence = told(*arguments(tmp_path / "none.json", tmp_path / "out.json"))
    assert "none.json does not exist" in sentence
    for output in (tmp_path, tmp_path / "nowhere" / "out.json", image / "out.json"):
        assert f"{output} cannot be written" in told(*arguments(labels, output))


@pytest.mark.parametrize(
    "fault", ["missing", "broken", "key", "size", "data", "folder", "device", "gpu"]
)
def test_training_that_cannot_start(
    told: Any, drawn: Path, image: Path, tmp_path: Path, fault: str
) -> None:
    pytest.importorskip("torch")
    text = (drawn / "recipe.toml").read_text()
    recipe, data, output, more, words = tmp_path / "r.toml", drawn, tmp_path / "run", [], fault
    if fault == "missing":
        recipe, words = tmp_path / "none.toml", "There is no recipe"
    elif fault == "broken":
        text, words = text.replace("[[", "[", 1), "not valid TOML"
    elif fault == "key":
        text, words = text.replace("rate =", "rat =", 1), "'rat'"
    elif fault == "size":
        text, words = text.replace("[64, 64]", "[48, 64]"), "48x64 (w x h) does not suit"
    elif fault == "data":
        data, words = tmp_path / "nowhere", "does not exist"
    elif fault == "folder":
        output, words = image / "run", "cannot be made"
    elif fault == "device":
        more, words = ["--device", "tpu"], "'tpu'"
    else:
        more, words = ["--device", "cuda:97"], "'cuda:97' is not there"
    write(tmp_path / "r.toml", text)
    assert words in told("train", recipe, "--data", data, "--output", output, *more)


def test_exports_that_cannot_be_made(told: Any, image: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    broken = write(tmp_path / "broken.pt", b"PK\x03\x04 and no more")
    torch.save({"step": 3}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for checkpoint, words in (
        (tmp_path / "none.pt", "does not exist"),
        (broken, "cannot be read"),
        (image, "cannot be read"),
        (tmp_path / "other.pt", "best.pt"),
        (tmp_path / "list.pt", "best.pt"),
    ):
        assert words in told("export", checkpoint, tmp_path / "out.onnx")
    sentence = told("export", broken, tmp_path / "out.onnx", "--width", "96")
    assert "both --width and --height" in sentence


def test_the_installed_command_answers_alike(image: Path, tmp_path: Path) -> None:
    start = "from pcr_rt.cli import main; main()"
    command = [sys.executable, "-c", start, "run", str(tmp_path / "none.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"error: .*none\.jpg does not exist.*\n", done.stderr)
    assert list(tmp_path.glob("pcr-rt-output*")) == []
    command.insert(3, "--debug")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
