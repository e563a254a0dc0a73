"""The accuracy report: its parts by hand, and the whole of it on a few labelled images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

import accuracy
from common import only

from pcr_rt.skeleton import SIGMAS


def test_oks_counts_labelled_joints_alone() -> None:
    truth, found = np.zeros((17, 3)), np.full((17, 3), 99.0)
    truth[:2] = [[10, 20, 2], [30, 40, 1]]
    # The nose at its place; the left eye off by 20 px x 2 sigma x sqrt 2: exp(-1).
    found[:2, :2] = [[10, 20], [30 + 20 * 2 * SIGMAS[1] * 2**0.5, 40]]
    label = {"image_id": 1, "keypoints": truth.ravel().tolist(), "area": 400.0}
    person = accuracy.Judged(label, {"image_id": 1, "keypoints": found.ravel().tolist()})
    np.testing.assert_allclose(person.similarity[:2], [1, np.exp(-1)], rtol=1e-6)
    assert np.isnan(person.similarity[2:]).all()
    assert person.oks == pytest.approx((1 + np.exp(-1)) / 2)


def test_bins_hold_their_lower_edge() -> None:
    bins = {"small": (0, 64), "large": (64, np.inf), "none": (-5, 0)}
    found = accuracy.binned(np.array([10.0, 63.9, 64.0]), bins, np.array([0.2, 0.5, 0.8]))
    assert found == {
        "small": {"people": 2, "oks": 0.35, "above_0.5": 0.5, "above_0.75": 0.0},
        "large": {"people": 1, "oks": 0.8, "above_0.5": 1.0, "above_0.75": 1.0},
    }


@pytest.mark.shared
@pytest.mark.slow
def test_report_on_a_few_images(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = json.loads((shared / "data" / "coco_val.json").read_text())
    data = only(data, data["images"][:12])
    # People of one image apart from each other, and images in another order than people.
    data["annotations"] = data["annotations"][::2] + data["annotations"][1::2]
    (tmp_path / "few.json").write_text(json.dumps(data))
    files = [tmp_path / "few.json", shared / "data" / "coco_val"]
    peer = shared / "models" / "tinypose_256x192.onnx"
    options = ["--models", "pcr-tiny", "--peer", peer, "--sheets", tmp_path / "sheets"]
    arguments = ["accuracy.py", *files, *options, "--output", tmp_path / "out.json"]
    monkeypatch.setattr(sys, "argv", [str(a) for a in arguments])
    accuracy.main()
    report = json.loads((tmp_path / "out.json").read_text())["models"]
    assert report.keys() == {"pcr-tiny", peer.name}
    row = report["pcr-tiny"]
    people = sum(p.get("num_keypoints", 0) > 0 for p in data["annotations"])
    for bins in ("by_height", "by_visible_joints"):
        assert sum(b["people"] for b in row[bins].values()) == people
    # Each person beside the own result: beside another's most would lie far off.
    found = sum(b["people"] * b["above_0.5"] for b in row["by_height"].values())
    assert found / people > row["rms"]["ar"]  # the recall at 0.5 is the highest of those in AR
    joints = sum(j["joints"] for j in row["by_joint"].values())
    assert sum(j["joints"] for j in row["by_visibility"].values()) == joints
    assert row["by_visibility"]["seen"]["similarity"] > row["by_visibility"]["hidden"]["similarity"]
    difference, low, high = row["rms"]["minus_peer"]
    assert low <= difference <= high
    assert difference == pytest.approx(row["rms"]["ap"] - report[peer.name]["rms"]["ap"], abs=2e-4)
    assert row["labelled_boxes"]["mean_peak"] > row["false_boxes"]["mean_peak"]
    for name in ("best", "middle", "worst"):
        sheet = cv2.imread(str(tmp_path / "sheets" / f"pcr-tiny-{name}.jpg"))
        assert sheet.shape[1] == 4 * 240
