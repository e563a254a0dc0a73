from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.errors import ModelError
from pcr_rt.models import ModelSpec, model_path, recognise, shipped_models
from pcr_rt.skeleton import COCO17, Skeleton


def test_spec_survives_json() -> None:
    spec = ModelSpec("x", "simcc", (192, 256), transform="msra", provenance={"ap": 0.5})
    assert ModelSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "voxels"}, "voxels"),
        ({"transform": "mmpose"}, "mmpose"),
        ({"format": 99}, "99"),
        ({"input_size": [0, 256]}, "input_size"),
        ({"surprise": 1}, "surprise"),
        ({"std": [1, 1, float("nan")]}, "std"),
    ],
)
def test_wrong_spec_is_refused(change: dict[str, Any], word: str) -> None:
    table = json.loads(ModelSpec("x", "heatmap", (192, 256)).to_json())
    with pytest.raises(ModelError, match=word):
        ModelSpec.from_json(json.dumps({**table, **change}))


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', '{"format": 1}'])
def test_garbage_metadata_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        ModelSpec.from_json(text)


@pytest.mark.parametrize(
    ("spec", "shapes", "fits"),
    [
        (ModelSpec("a", "heatmap", (192, 256)), [["N", 17, 64, 48]], True),
        (ModelSpec("a", "heatmap", (192, 256)), [["N", 133, 64, 48]], False),
        (ModelSpec("a", "heatmap", (192, 256)), [["N", 17, 2]], False),
        (ModelSpec("a", "simcc", (192, 256)), [[1, 17, 384], [1, 17, 512]], True),
        (ModelSpec("a", "simcc", (192, 256)), [[1, 17, 512], [1, 17, 384]], False),
        (ModelSpec("a", "boxes", (320, 320)), [["b", 40, 40, 5]] * 3, True),
        (ModelSpec("a", "boxes", (320, 320)), [["b", 40, 40, 6]] * 3, False),
        (ModelSpec("a", "boxes", (416, 416), layout="yolox"), [[1, 3549, 85]], True),
        (ModelSpec("a", "boxes", (416, 416), layout="yolox"), [["b", "n", 4]], False),
        (ModelSpec("a", "boxes", (320, 320)), [["b", "h", "w", "n"]] * 3, True),
        (ModelSpec("a", "boxes", (320, 320)), [["b", 40, 40, 5]] * 2, False),
        (ModelSpec("a", "boxes", (320, 320), layout="dets"), [["b", "n", "n"]], True),
        (ModelSpec("a", "boxes", (320, 320), layout="dets"), [["b", "n", 4], ["b", "n"]], False),
        (ModelSpec("a", "boxes", (320, 320), layout="dets"), [["b", "n", 85]], False),
    ],
)
def test_outputs_are_held_against_the_spec(
    spec: ModelSpec, shapes: list[list[Any]], fits: bool
) -> None:
    if fits:
        spec.check_outputs(shapes)
    else:
        with pytest.raises(ModelError, match="contradict"):
            spec.check_outputs(shapes)


@pytest.mark.parametrize(
    ("entry", "outputs", "expected"),
    [
        ([1, 3, 256, 192], [[1, 17, 384], [1, 17, 512]], ("simcc", (192, 256), "msra")),
        (["N", 3, 256, 192], [["N", 17, 64, 48]], ("heatmap", (192, 256), "msra")),
    ],
)
def test_pose_models_are_recognised(
    entry: list[Any], outputs: list[list[Any]], expected: tuple[Any, ...]
) -> None:
    spec = recognise("other", entry, outputs)
    assert (spec.kind, spec.input_size, spec.transform) == expected


@pytest.mark.parametrize(
    ("entry", "outputs", "layout", "size"),
    [
        ([1, 3, 416, 416], [[1, 3549, 85]], "yolox", (416, 416)),
        (["b", 3, "h", "w"], [["b", "n", 5], ["b", "n"]], "dets", (640, 640)),
        ([1, 3, 320, 320], [[1, 40, 40, 5], [1, 20, 20, 5], [1, 10, 10, 5]], "rtmdet", (320, 320)),
    ],
)
def test_detectors_are_recognised(
    entry: list[Any], outputs: list[list[Any]], layout: str, size: tuple[int, int]
) -> None:
    spec = recognise("other", entry, outputs)
    assert (spec.kind, spec.layout, spec.input_size) == ("boxes", layout, size)
    assert spec.colour == "bgr"
    assert spec.mean == ((0, 0, 0) if layout == "yolox" else (103.53, 116.28, 123.675))
    assert spec.std == ((1, 1, 1) if layout == "yolox" else (57.375, 57.12, 58.395))


def test_unknown_model_is_refused_with_the_repair() -> None:
    with pytest.raises(ModelError, match="pass a ModelSpec"):
        recognise("classifier", ["N", 3, 224, 224], [["N", 1000]])
    # Shapes that would fit a spec which says so, but not for sure.
    with pytest.raises(ModelError, match="pass a ModelSpec"):
        recognise("boxes", ["N", 3, 224, 224], [["b", "h", "w", "n"]] * 3)
    with pytest.raises(ModelError, match="pass a ModelSpec"):
        recognise("boxes", ["N", 3, 224, 224], [["b", "n", "n"]])


def test_model_path(tmp_path: Path) -> None:
    assert model_path("rtmdet-nano").is_file()
    assert {"pcr-tiny", "pcr-nano", "pcr-lite", "rtmdet-nano"} <= set(shipped_models())
    for wrong, word in (
        ("pcr-huge", "shipped are"),
        (tmp_path / "no.onnx", "does not exist"),
        (__file__, "not an .onnx"),
    ):
        with pytest.raises(ModelError, match=word):
            model_path(wrong)


def test_auto_is_never_a_file_that_was_measured_to_be_slower() -> None:
    """On a CPU FP32: INT8 and FP16 take as long or longer there (docs/reference/precision.md)."""
    for name in ("auto", *shipped_models()):
        assert model_path(name).name in (f"{name}.onnx", "pcr-tiny.onnx")
        assert model_path(name) == model_path(name, "fp32")


@pytest.mark.parametrize(
    "field",
    [
        {"transform": 3},
        {"colour": None},
        {"layout": []},
        {"mean": [None] * 3},
        {"mean": [0.5, 0.5]},
        {"std": [0, 1, 1]},
        {"input_size": [192]},
        {"input_size": [192, 256, 3]},
        {"input_size": [192.5, 256]},
        {"input_size": [10**6, 10**6]},
        {"sigma": 1000},
        {"sigma": "2"},
        {"padding": True},
        {"fill": float("inf")},
        {"split": float("nan")},
        {"name": 7},
        {"provenance": []},
    ],
)
def test_fields_of_a_spec_are_checked_for_type_and_size(field: dict[str, Any]) -> None:
    table = json.loads(ModelSpec("toy", "heatmap", (192, 256)).to_json()) | field
    with pytest.raises(ModelError, match="The model's spec"):
        ModelSpec.from_json(json.dumps(table))


def test_specs_that_json_cannot_hold() -> None:
    for text in ("[" * 100_000, "1" * 5000, "null", "[]"):
        with pytest.raises(ModelError):
            ModelSpec.from_json(text)


def test_a_spec_carries_its_skeleton_whole() -> None:
    own = Skeleton("mine", ("a", "b", "c"), (("a", "b"),), sigmas=(0.1, 0.2, 0.3), category="cup")
    spec = ModelSpec("cup", "heatmap", (192, 256), skeleton=own)
    assert ModelSpec.from_json(spec.to_json()) == spec
    spec.check_outputs([["N", 3, 64, 48]])
    with pytest.raises(ModelError, match="3 keypoints of mine"):
        spec.check_outputs([["N", 17, 64, 48]])


def test_a_spec_without_a_skeleton_is_of_coco() -> None:
    table = json.loads(ModelSpec("a", "heatmap", (192, 256)).to_json())
    del table["skeleton"]  # as files from before have it
    assert ModelSpec.from_json(json.dumps(table)).skeleton == COCO17
    assert "skeleton" not in json.loads(ModelSpec("a", "boxes", (416, 416)).to_json())


def test_a_spec_with_a_broken_skeleton_is_refused() -> None:
    table = json.loads(ModelSpec("a", "heatmap", (192, 256)).to_json())
    table["skeleton"]["limbs"] = [["nose", "tail"]]
    with pytest.raises(ModelError, match="names 'tail', which is none of its keypoints"):
        ModelSpec.from_json(json.dumps(table))


@pytest.mark.parametrize(
    ("keypoints", "name", "outputs"),
    [
        (26, "halpe26", [[1, 26, 384], [1, 26, 512]]),
        (133, "coco_wholebody133", [[1, 133, 384], [1, 133, 512]]),
        (21, "hand21", [["N", 21, 64, 48]]),
    ],
)
def test_models_of_other_keypoints_need_a_skeleton(
    keypoints: int, name: str, outputs: list[list[Any]]
) -> None:
    entry = [1, 3, 256, 192]
    with pytest.raises(ModelError, match=f"finds {keypoints} .*--skeleton.*shipped is {name}"):
        recognise("other", entry, outputs)
    assert recognise("other", entry, outputs, Skeleton.load(name)).skeleton.name == name
    with pytest.raises(ModelError, match=f"finds {keypoints} keypoints, the skeleton 'coco17' has"):
        recognise("other", entry, outputs, COCO17)


def test_models_of_seventeen_keypoints_are_read_as_cocos(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outputs = [["N", 17, 64, 48]]
    with caplog.at_level("INFO", "pcr_rt"):
        assert recognise("other", [1, 3, 256, 192], outputs).skeleton == COCO17
    assert "other does not name its 17 keypoints: they are read as COCO's" in caplog.text
    animal = Skeleton.load("ap10k17")
    assert recognise("other", [1, 3, 256, 192], outputs, animal).skeleton == animal


@pytest.mark.parametrize(
    ("outputs", "layout"),
    [
        ([[1, 84, 8400]], "yolov8"),
        ([["batch", 84, "anchors"]], "yolov8"),
        ([[1, 5, 8400]], "yolov8"),  # one class
        ([[1, 8400, 84]], "yolov8"),
        ([[1, 300, 6]], "yolov8"),
        ([[1, 8400, 85]], "yolox"),
        ([[1, 8400, 6]], "yolox"),  # one class
    ],
)
def test_yolo_files_are_told_apart(outputs: list[list[Any]], layout: str) -> None:
    spec = recognise("other", [1, 3, 640, 640], outputs)
    assert spec.layout == layout
    greys = (
        ((0, 0, 0), (255, 255, 255), "rgb") if layout == "yolov8" else ((0, 0, 0), (1, 1, 1), "bgr")
    )
    assert (spec.mean, spec.std, spec.colour) == greys
    spec.check_outputs(outputs)


def test_files_with_their_nms_inside_get_the_greys_of_their_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outputs = [[1, "n", 5], [1, "n"]]
    assert recognise("yolox_m_dets", [1, 3, 640, 640], outputs).std == (1, 1, 1)
    assert "by its name they are 0 to 255" in caplog.text
    assert recognise("rtmdet_m", [1, 3, 640, 640], outputs).std == (57.375, 57.12, 58.395)
    assert "by its name they are normalised as RTMDet's" in caplog.text


@pytest.mark.parametrize(
    "outputs",
    [
        [[1, 56, 8400]],
        [[1, 8400, 56]],
        [[1, 300, 57]],
        [[1, 10, 5], [1, 10, 17, 3]],
        [["n", "k", 5], ["n", "k", 26, 2]],
        [[1, 300, 6 + 3 * 21]],
        [[1, 300, 6 + 2 * 21]],
        [[1, 300, 6 + 3 * 5]],
    ],
)
def test_one_stage_pose_models_are_refused(outputs: list[list[Any]]) -> None:
    with pytest.raises(ModelError, match=r"one-stage pose model .* give a top-down pose model"):
        recognise("yolov8n-pose", [1, 3, 640, 640], outputs)


def test_detectors_of_few_rows_are_no_pose_models() -> None:
    spec = recognise("rtdetr", [1, 3, 640, 640], [[1, 300, 84]])
    assert spec.kind == "boxes"


@pytest.mark.parametrize("channels", [5 + 3 * 5, 5 + 3 * 21, 4 + 2 + 2 * 8])
def test_one_stage_pose_models_of_any_keypoints_say_their_task(channels: int) -> None:
    for outputs in ([[1, channels, 8400]], [[1, 8400, channels]]):
        with pytest.raises(ModelError, match="is a one-stage pose model"):
            recognise("hands", [1, 3, 640, 640], outputs, task="pose")
    with pytest.raises(ModelError, match=r"for the task 'obb'.*give one for 'detect'"):
        recognise("ships", [1, 3, 640, 640], [[1, channels, 8400]], task="obb")
