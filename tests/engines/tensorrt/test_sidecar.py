"""Files beside an engine: who may write them, and locks."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.calibration import Calibration
from pcr_rt.engines.tensorrt.sidecar import (
    Sidecar,
    cache_folder,
    differences,
    locked,
    write_private,
)
from pcr_rt.errors import InputError
from pcr_rt.models import ModelSpec


def test_cache_that_is_no_folder_or_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        cache_folder(file)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(InputError, match="belongs to another user"):
        cache_folder(tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        cache_folder(tmp_path)


def test_no_permission_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        write_private(tmp_path / "engine", b"x")
    with pytest.raises(InputError, match="Permission denied"), locked(tmp_path / "lock"):
        pass


def test_a_killed_builder_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from pcr_rt.engines.tensorrt.sidecar import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    lock = tmp_path / "x.lock"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    child.kill()
    child.communicate()
    with locked(lock):
        pass


def test_a_lock_is_waited_for_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []
    began = threading.Event()

    def second() -> None:
        began.set()
        with locked(tmp_path / "x.lock"):
            order.append("second")

    with caplog.at_level(logging.INFO, "pcr_rt"), locked(tmp_path / "x.lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert began.wait(20)
        while "waiting for it" not in caplog.text:
            thread.join(0.01)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_differences_in_words() -> None:
    had = {"version": "10.3.0", "gpu": "Orin", "onnx_sha256": "a" * 64}
    assert differences(had, {"gpu": "Orin"}) == ""
    assert differences(had, {"version": "10.7.0"}) == "version 10.3.0 instead of 10.7.0"
    assert differences(had, {"onnx_sha256": "b" * 64}) == (
        "onnx_sha256 aaaaaaaaaaaa instead of bbbbbbbbbbbb"
    )
    assert differences({}, {"l4t": None, "sm": "8.7"}) == "sm None instead of 8.7"


def test_an_engine_keeps_the_calibration_of_its_model(tmp_path: Path) -> None:
    curves = Calibration(keypoints=((0.0, 0.1), (0.5, 0.8)), people=((0.1, 0.0), (0.9, 1.0)))
    spec = ModelSpec("toy", "heatmap", (48, 64), calibration=curves)
    plan = tmp_path / "toy.engine"
    Sidecar("00", {}, spec).write(plan)
    assert Sidecar.read(plan).spec.calibration == curves
