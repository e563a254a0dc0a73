"""An option means the same with every verb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer.main

pytest.importorskip("onnx")

from pcr_rt.cli import app
from pcr_rt.models import ModelSpec
from toys import PLAIN, blob_frame, brightness_model, save

VERBS = {"demo", "run", "eval", "train", "label", "export", "doctor"}


def test_options_of_one_name_are_spelt_alike() -> None:
    """So ``-o``, ``--json`` or ``--no-flip-test`` work wherever their option does."""
    command: Any = typer.main.get_command(app)
    assert set(command.commands) >= VERBS
    spelt: dict[str, dict[str, Any]] = {}
    for verb, sub in command.commands.items():
        for option in sub.params:
            if option.param_type_name == "option":
                names = (sorted(option.opts), sorted(option.secondary_opts))
                spelt.setdefault(option.name, {})[verb] = names
                assert option.help or option.name == "help", (verb, option.name)
    for name, verbs in spelt.items():
        assert len({str(names) for names in verbs.values()}) == 1, (name, verbs)
    assert {"run", "eval", "label"} <= spelt["flip_test"].keys()
    assert {"run", "eval"} <= spelt["detector"].keys()


def test_the_flip_test_of_label_can_be_switched_off(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    toy = brightness_model(tmp_path / "toy.onnx", ModelSpec("toy", "heatmap", (48, 64), **PLAIN))
    save(tmp_path / "1.png", blob_frame((200, 160), (84.3, 77.6)))
    person = {"id": 1, "image_id": 1, "bbox": [60, 40, 60, 80]}
    data = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": [person]}
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(data))

    def scores(*options: str) -> Any:
        output = tmp_path / "out.json"
        answer = cli("label", labels, tmp_path, output, "-m", toy, *options)
        assert (answer.code, answer.out) == (0, f"{output}: 1 people\n")
        return json.loads(output.read_text())["annotations"][0]["keypoint_scores"]

    averaged, plain = scores(), scores("--no-flip-test")
    # The toy's map of keypoint k has the height (k + 1) / 17: mirrored partners meet half way.
    assert averaged[1] == averaged[2] == pytest.approx((plain[1] + plain[2]) / 2, rel=0.01)
    assert plain[2] == pytest.approx(1.5 * plain[1], rel=0.01)


@pytest.mark.parametrize("given", ["--skeleton", "--spec"])
def test_files_of_other_keypoints_say_theirs_to_every_verb(
    cli: Any, tmp_path: Path, given: str
) -> None:
    """Of doctor, verify and demo; label, run and eval have tests of their own."""
    pytest.importorskip("onnx")
    from toys import brightness_model

    model = brightness_model(tmp_path / "hands.onnx", None, joints=21, batch=1)
    spec = tmp_path / "spec.toml"
    spec.write_text(
        'name = "hands"\nkind = "heatmap"\ninput_size = [48, 64]\nskeleton = "hand21"\n'
    )
    options = [given, "hand21" if given == "--skeleton" else spec]
    for arguments, code in ((["doctor", model], 1), (["verify", model, model], 2)):
        answer = cli(*arguments)
        assert answer.code == code
        assert "finds 21 keypoints and does not name them" in answer.out + answer.err
        answer = cli(*arguments, *options)
        assert answer.code == 0, answer.out + answer.err
        assert ("21 keypoints of hand21" if arguments[0] == "doctor" else "passed") in answer.out


def test_demo_takes_a_skeleton(cli: Any, tmp_path: Path) -> None:
    answer = cli("demo", "-m", "pcr-nano", "--skeleton", "hand21", "-o", tmp_path / "demo")
    assert answer.code == 2
    assert "'pcr-nano' finds 17 keypoints (coco17), the skeleton 'hand21' has 21" in answer.err
    assert not (tmp_path / "demo").exists()
