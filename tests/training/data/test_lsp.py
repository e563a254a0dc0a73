"""LSP-Extended as its makers publish it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.io import savemat

from pcr_rt.errors import DataError
from pcr_rt.skeleton import KEYPOINTS
from pcr_rt.training.data.datasets import DataSet, people_from
from pcr_rt.training.data.lsp import read_lsp


def test_joints_of_the_matlab_file(tmp_path: Path) -> None:
    joints = np.zeros((14, 3, 3))
    # Person 1: a right ankle, a left wrist and the neck; person 2: nothing; person 3: two joints.
    joints[0, :, 0] = 11, 101, 1
    joints[11, :, 0] = 61, 21, 1
    joints[12, :, 0] = 31, 1, 1
    joints[5, :, 0] = 900, 900, 0  # not seen, wherever it is said to be
    joints[3, :, 2] = 5, 6, 1
    joints[8, :, 2] = 25, 46, 1
    savemat(tmp_path / "joints.mat", {"joints": joints})
    images = tmp_path / "images"
    images.mkdir()
    for number in (1, 2, 3):
        (images / f"im{number:05d}.jpg").touch()
    first, third = read_lsp(tmp_path / "joints.mat", images)
    assert (first.image.name, third.image.name) == ("im00001.jpg", "im00003.jpg")
    labelled = {KEYPOINTS[i]: tuple(first.keypoints[i]) for i in np.flatnonzero(first.weights)}
    # MATLAB counts from 1.
    assert labelled == {"right_ankle": (10, 100), "left_wrist": (60, 20)}
    labelled = {KEYPOINTS[i]: tuple(third.keypoints[i]) for i in np.flatnonzero(third.weights)}
    assert labelled == {"left_hip": (4, 5), "right_shoulder": (24, 45)}
    # x from 10 to 60 and y from 0 (the neck) to 100, 4 % more on each side.
    np.testing.assert_allclose(first.box, [8, -4, 62, 104])


def test_other_files_are_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "lsp.mat", {"joints": np.zeros((3, 14, 2000))})
    with pytest.raises(DataError, match="the opposite"):
        read_lsp(tmp_path / "lsp.mat", tmp_path)
    (tmp_path / "broken.mat").write_bytes(b"no matlab")
    with pytest.raises(DataError, match="cannot be read as LSP"):
        read_lsp(tmp_path / "broken.mat", tmp_path)


@pytest.mark.shared
def test_lsp_joints_by_name_are_those_of_the_coco_slots(shared: Path) -> None:
    data = shared / "data"
    by_name = people_from(DataSet("lsp/lsp.json", "lsp/images", format="lsp"), data, "refuse")
    slots = people_from(DataSet("lsp/lsp.json", "lsp/images"), data, "refuse")
    assert len(by_name) == len(slots) == 4301
    for a, b in zip(by_name, slots, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        labelled = a.weights > 0
        np.testing.assert_array_equal(a.keypoints[labelled], b.keypoints[labelled])


def test_damaged_joints_do_not_end_the_process(tmp_path: Path) -> None:
    """Bytes 90 to 189 of a sound file once more ended SciPy 1.17, and the process with it."""
    path = tmp_path / "joints.mat"
    savemat(path, {"joints": np.ones((14, 3, 4))})
    data = path.read_bytes()
    for damaged in (data[:190] + data[90:190] + data[190:], data[:200], b"", b"no file"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"joints\.mat cannot be read as LSP-Extended's"):
            read_lsp(path, tmp_path)
