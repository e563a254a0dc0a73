"""The Pareto curve: its parts by hand, and the whole of it on a few labelled images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

import pareto
from common import only

from pcr_rt.models import WEIGHTS


def test_who_is_on_the_curve() -> None:
    points = {
        "quick": (0.3, 0.56),
        "slower and worse": (0.5, 0.50),
        "as quick and worse": (0.3, 0.55),
        "best": (1.1, 0.68),
        "slower and as good": (1.4, 0.68),
    }
    assert pareto.on_the_curve(points) == ["quick", "best"]


def test_ratios_are_to_the_first_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def taking(*times: float):
        left = iter([1.0] * pareto.WARM_UP + list(times))

        def run() -> None:
            nonlocal now
            now += next(left)

        return run

    monkeypatch.setattr(pareto.time, "thread_time", lambda: now)
    found = pareto.time_in_turns([taking(2.0, 4.0), taking(1.0, 6.0)], 2)
    np.testing.assert_allclose(found, [[1, 1], [0.5, 1.5]])


def test_entries(tmp_path: Path) -> None:
    tiny = WEIGHTS / "pcr-tiny.onnx"
    assert pareto.read_entry("pcr-tiny", tmp_path) == pareto.Entry("pcr-tiny", tiny, False)
    entry = pareto.read_entry("pcr-tiny+flip", tmp_path)
    assert entry == pareto.Entry("pcr-tiny, flip test", tiny, True)
    assert pareto.read_entry(f"mine={tiny}", tmp_path) == pareto.Entry("mine", tiny, False)


@pytest.mark.shared
def test_whole(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    annotations = json.loads((shared / "data/coco_val.json").read_text())
    labelled = {a["image_id"] for a in annotations["annotations"] if a["num_keypoints"]}
    images = [image for image in annotations["images"] if image["id"] in labelled][:3]
    few = tmp_path / "few.json"
    few.write_text(json.dumps(only(annotations, images)))
    unit = str(shared / "models/tinypose_256x192.onnx")
    result, diagram = tmp_path / "pareto.json", tmp_path / "pareto.png"
    arguments = [str(few), str(shared / "data/coco_val"), unit, "pcr-nano", "pcr-nano@64x96"]
    arguments += ["--rounds", "2", "--output", str(result), "--diagram", str(diagram)]
    monkeypatch.setattr(sys, "argv", ["pareto.py", *arguments])
    pareto.main()
    rows = json.loads(result.read_text())["models"]
    assert list(rows) == ["PP-TinyPose", "pcr-nano", "pcr-nano@64x96"]
    assert rows["PP-TinyPose"]["ratio"] == 1
    assert rows["PP-TinyPose"]["minus_unit"] == [0, 0, 0]
    # Half of the pixels take less time, and the network was not made for so few.
    assert rows["pcr-nano@64x96"]["ap"] < rows["pcr-nano"]["ap"]
    assert diagram.read_bytes().startswith(b"\x89PNG")
    assert "| pcr-nano@64x96 |" in capsys.readouterr().out
