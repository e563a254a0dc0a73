"""What is found again, what is built anew and why, and what cannot be written."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from pcr_rt.engines import gpu
from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.builder import BuildOptions
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.engine import TensorRTEngine
from pcr_rt.engines.tensorrt.sidecar import (
    Sidecar,
    failures,
    sidecar_path,
)
from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import ModelSpec
from toys import PLAIN, brightness_model

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return brightness_model(tmp_path / "toy.onnx", SPEC)


def get(model: Path, **more: Any) -> tuple[Path, bool]:
    return cached_engine(load(), model, SPEC, **more)


def test_found_again_and_private(tensorrt: Any, model: Path, private_home: Path) -> None:
    plan, is_new = get(model)
    assert is_new
    assert get(model) == (plan, False)
    assert plan.parent == private_home
    assert private_home.stat().st_mode & 0o777 == 0o700
    assert plan.stat().st_mode & 0o777 == 0o600
    assert not list(private_home.glob(".*"))  # nothing half-written is left
    key = Sidecar.read(plan).key
    assert (key["product"], key["version"]) == ("TensorRT", "10.3.0")
    assert (key["gpu"], key["sm"], key["sm_count"]) == ("Orin", "8.7", 16)
    assert key["profiles"] == [[1, 1, 1], [1, 4, 16]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": b"Thor"}, "gpu Orin instead of Thor"),
        ({"minor": 6}, "sm 8.7 instead of 8.6"),
        ({"multiProcessorCount": 8}, "sm_count 16 instead of 8"),
    ],
)
def test_other_gpu(
    tensorrt: Any,
    model: Path,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    words: str,
) -> None:
    plan, _ = get(model)
    tensorrt.behaviour.gpu.update(change)
    other, is_new = get(model)
    assert is_new
    assert other != plan
    assert words in caplog.text
    with pytest.raises(ModelError, match=words):
        TensorRTEngine(plan)


def test_a_driver_that_keeps_more_memory_for_itself_changes_nothing(
    tensorrt: Any, model: Path
) -> None:
    plan, _ = get(model)
    tensorrt.behaviour.gpu["totalGlobalMem"] -= 64 << 20
    assert get(model) == (plan, False)
    TensorRTEngine(plan).close()


def test_other_version_options_file_or_jetpack(
    tensorrt: Any,
    model: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans = {get(model)[0]}
    plans.add(get(model, options=BuildOptions(((1, 2, 2),)))[0])
    plans.add(get(model, options=BuildOptions(workspace_mb=64))[0])
    plans.add(get(model, options=BuildOptions(optimization_level=1))[0])
    release = tmp_path / "nv_tegra_release"
    release.write_text("# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic\n")
    monkeypatch.setattr(gpu, "L4T_RELEASE", release)
    plans.add(get(model)[0])
    assert "l4t None instead of 36.4.0" in caplog.text
    tensorrt.__version__ = "10.3.1"
    plans.add(get(model)[0])
    assert "version 10.3.0 instead of 10.3.1" in caplog.text
    brightness_model(model, SPEC, stride=2)
    plans.add(get(model)[0])
    assert "onnx_sha256" in caplog.text
    assert len(plans) == 7 == tensorrt.behaviour.builds


def test_what_cannot_be_vouched_for_is_built_again(
    tensorrt: Any, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan, _ = get(model)

    def damage(path: Path, content: bytes | None) -> None:
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    content = plan.read_bytes()
    side = sidecar_path(plan)
    table = json.loads(side.read_bytes())
    for path, broken, words in (
        (plan, content[:-1] + b"x", "its hash differs"),
        (plan, content[:9], "its hash differs"),
        (plan, None, "cannot be read"),
        (side, None, "cannot be read"),
        (side, b"{", "is damaged"),
        (side, b"[]", "is damaged"),
        (side, json.dumps({**table, "format": 0}).encode(), "has format 0"),
        (side, json.dumps({**table, "key": {}}).encode(), "another machine"),
        (side, json.dumps({**table, "more": 1}).encode(), "is damaged"),
    ):
        caplog.clear()
        damage(path, broken)
        assert get(model) == (plan, True)
        assert words in caplog.text
        assert "It is built again" in caplog.text
        assert len(caplog.records) == 1
        assert get(model) == (plan, False)


def test_tampered_engine_is_never_loaded(tensorrt: Any, model: Path) -> None:
    plan, _ = get(model)
    plan.write_bytes(plan.read_bytes() + b"x")
    with pytest.raises(ModelError, match="its hash differs"):
        TensorRTEngine(plan)
    sidecar_path(plan).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        TensorRTEngine(plan)


def test_engine_of_another_version_is_refused_by_its_path(tensorrt: Any, model: Path) -> None:
    plan, _ = get(model)
    tensorrt.__version__ = "10.7.0"
    with pytest.raises(ModelError, match=r"version 10\.3\.0 instead of 10\.7\.0"):
        TensorRTEngine(plan)


def test_timings_are_kept(tensorrt: Any, model: Path, private_home: Path) -> None:
    get(model)
    (timings,) = private_home.glob("timing-*.cache")
    assert timings.read_bytes() == b"timings"
    get(model, options=BuildOptions(workspace_mb=64))


def test_timings_that_cannot_be_read_are_made_anew(
    tensorrt: Any, model: Path, private_home: Path
) -> None:
    """TensorRT gives None for a damaged timing cache instead of raising."""
    get(model)
    (timings,) = private_home.glob("timing-*.cache")
    timings.write_bytes(b"damaged")
    assert get(model, options=BuildOptions(workspace_mb=64))[1]
    assert timings.read_bytes() == b"timings"


def test_engine_that_is_of_another_precision_is_not_built_twice(tensorrt: Any, model: Path) -> None:
    tensorrt.behaviour.types = ["HALF"] * 9
    for _ in range(2):
        with pytest.raises(ModelError, match="is not fp32"):
            get(model)
    assert tensorrt.behaviour.builds == 1


def test_a_build_that_fails_is_remembered(tensorrt: Any, model: Path, private_home: Path) -> None:
    tensorrt.behaviour.builds_engines = False
    for _ in range(2):
        with pytest.raises(ModelError, match=r"for node Conv_7.*'pcr-rt build' tries again"):
            get(model)
    assert tensorrt.behaviour.builds == 1
    ((path, reason),) = failures().items()
    assert path.parent == private_home
    assert "Conv_7" in reason
    tensorrt.behaviour.builds_engines = True
    assert get(model, retry=True)[1]
    assert failures() == {}
    assert not get(model)[1]


def test_a_build_that_fails_leaves_the_file_of_the_user(
    tensorrt: Any, model: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.engine"
    get(model, output=mine)
    before = mine.read_bytes(), sidecar_path(mine).read_bytes()
    tensorrt.behaviour.builds_engines = False
    with pytest.raises(ModelError, match="Conv_7"):
        get(model, output=mine, options=BuildOptions(workspace_mb=64))
    assert (mine.read_bytes(), sidecar_path(mine).read_bytes()) == before


def test_a_file_that_cannot_be_parsed_is_not_remembered(tensorrt: Any, model: Path) -> None:
    """It takes no time to find out, and the next version of TensorRT may read it."""
    content = model.read_bytes()
    model.write_bytes(content[:50])
    with pytest.raises(ModelError, match="cannot parse"):
        get(model)
    assert failures() == {}


def test_inspector_without_types_judges_nothing(
    tensorrt: Any, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One layer of constants in FP16 among layers without a type."""
    tensorrt.behaviour.types = ["N/A due to dynamic shapes"] * 3 + ["HALF"]
    plan, is_new = get(model)
    assert is_new
    assert Sidecar.read(plan).types_from == "network"
    assert "tells no types" in caplog.text


def test_no_space_ends_in_one_sentence(
    tensorrt: Any, model: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device") as error:
        get(model)
    assert "\n" not in str(error.value)
    assert not list(private_home.glob("*.engine"))
    assert not list(private_home.glob(".*"))
    monkeypatch.undo()


def test_threads_that_need_one_engine_build_it_once(tensorrt: Any, model: Path) -> None:
    results: list[tuple[Path, bool]] = []
    slow = lambda *_: time.sleep(0.1)  # noqa: E731
    threads = [
        threading.Thread(target=lambda: results.append(get(model, progress=slow))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({plan for plan, _ in results}) == 1
    assert sorted(is_new for _, is_new in results) == [False, False, True]
    assert tensorrt.behaviour.builds == 1


PROCESS = """
import sys, time
from pathlib import Path
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.builder import BuildOptions
from pcr_rt.engines.tensorrt.cache import cached_engine
model = Path(sys.argv[1])
spec = OnnxRuntimeEngine(model, device="cpu").spec
plan, is_new = cached_engine(
    load("TensorRT-RTX"), model, spec, BuildOptions(targets=("sm86",)), device=None,
    cache_dir=sys.argv[2], progress=lambda *_: time.sleep(0.02),
)
print(plan, is_new)
"""


def test_processes_that_need_one_engine_build_it_once(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    command = [sys.executable, "-c", PROCESS, str(model), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [one.communicate()[0].split() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert answers[0][0] == answers[1][0]
    assert sorted(answer[1] for answer in answers) == ["False", "True"]
    assert Path(answers[0][0]).read_bytes()[:4] == b"vtrt"


def test_failed_engine_is_remembered_until_its_note_is_deleted(tensorrt: Any, model: Path) -> None:
    plan, _ = get(model)
    sidecar = Sidecar.read(plan)
    dataclasses.replace(sidecar, failed="It shifts joints.").write(plan)
    with pytest.raises(ModelError, match="It shifts joints"):
        get(model)
    sidecar_path(plan).unlink()
    assert get(model) == (plan, True)
