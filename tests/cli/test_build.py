from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pcr_rt.engines.tensorrt.sidecar import Sidecar
from pcr_rt.models import ModelSpec
from tensorrt_fixtures import private_home, tensorrt
from toys import PLAIN, brightness_model

__all__ = ["private_home", "tensorrt"]

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--profile", "1,2"], "MIN,OPT,MAX"),
        (["--profile", "0,1,2"], "makes no sense"),
        (["--precision", "fp16"], "is fp32, not fp16"),
    ],
)
def test_bad_options_end_in_one_sentence(
    cli, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    pytest.importorskip("tensorrt_rtx")
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    answer = cli("build", model, "--for", "sm86", "--cache-dir", tmp_path, *arguments)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


def test_without_tensorrt_it_says_so(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    answer = cli("build", "pcr-lite")
    assert answer.code == 2
    assert "TensorRT cannot be used" in answer.err


def test_kernels_that_do_not_compile_are_found_first(
    cli, tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import emulated_cupy

    def refuse(self: Any, log_stream: Any = None) -> None:
        raise RuntimeError("CuPy failed to load libnvrtc.so.12")

    monkeypatch.setattr(emulated_cupy.RawModule, "compile", refuse)
    answer = cli("build", "pcr-nano")
    assert answer.code == 2
    assert "libnvrtc.so.12" in answer.err
    assert tensorrt.behaviour.builds == 0


def test_engine_is_built_once(cli, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    command = ["build", model, "--for", "sm86", "--cache-dir", tmp_path]
    first = cli(*command, "--json").json
    assert first["built"]
    assert first["types"] == {"FLOAT": 1}
    assert first["types_from"] == "network"
    assert Path(first["engine"]).read_bytes()[:4] == b"vtrt"
    assert not cli(*command, "--json").json["built"]
    shown = cli(*command).out
    assert "already there" in shown
    assert "kernels are compiled on the GPU at the first run" in shown
    there = cli(*command, "--output", tmp_path / "mine.engine", "--json").json
    assert there["engine"] == str(tmp_path / "mine.engine")
    assert json.loads((tmp_path / "mine.engine.json").read_text())["key"]["targets"] == ["sm86"]


def test_an_engine_knows_the_skeleton_that_was_given(cli, tensorrt: Any, tmp_path: Path) -> None:
    model = brightness_model(tmp_path / "hands.onnx", None, joints=21)
    plan = tmp_path / "hands.engine"
    answer = cli("build", model, "-o", plan, "--device", "cuda")
    assert answer.code == 2
    assert "finds 21 keypoints and does not name them" in answer.err
    answer = cli("build", model, "-o", plan, "--device", "cuda", "--skeleton", "hand21")
    assert answer.code == 0, answer.err
    assert Sidecar.read(plan).spec.skeleton.name == "hand21"
