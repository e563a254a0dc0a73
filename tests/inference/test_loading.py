"""Which engine a model gets, on the stand-ins of TensorRT, and what is said if it is another."""

from __future__ import annotations

import gc
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import emulated_cupy
from pcr_rt.cli.build import build
from pcr_rt.engines.gpu import Gpus
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.cache import cached_engine
from pcr_rt.engines.tensorrt.engine import TensorRTEngine
from pcr_rt.engines.tensorrt.sidecar import Sidecar
from pcr_rt.errors import InputError, MissingDependencyError, ModelError, PoseError
from pcr_rt.inference import loading
from pcr_rt.inference.loading import make_engine
from pcr_rt.models import ModelSpec
from tensorrt_fixtures import fresh_sentences, private_home, tensorrt
from toys import PLAIN, brightness_model

__all__ = ["fresh_sentences", "private_home", "tensorrt"]

SPEC = ModelSpec("toy", "heatmap", (48, 64), **PLAIN)


def random_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, 64, 48), dtype=np.float32)


def test_engine_given_by_its_path(tensorrt: Any, tmp_path: Path) -> None:
    plan, _ = cached_engine(load(), brightness_model(tmp_path / "toy.onnx", SPEC), SPEC)
    engine = make_engine(plan, device="cuda")
    assert engine.spec == SPEC
    with pytest.raises(InputError, match="needs a GPU"):
        make_engine(plan, device="cpu")
    with pytest.raises(InputError, match="no cuda:1"):
        make_engine(plan, device="cuda:1")


def test_estimator_takes_tensorrt_and_says_so(
    tensorrt: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    engine = make_engine(model, device="auto")
    assert isinstance(engine, TensorRTEngine)
    assert "may take minutes" in caplog.text
    assert Sidecar.read(engine.plan).agreement
    caplog.clear()
    make_engine(model, device="cuda")
    assert tensorrt.behaviour.builds == 1
    assert not caplog.text


def test_the_default_on_tensorrt_is_pcr_lite_in_fp16(tensorrt: Any) -> None:
    engine = make_engine("auto", device="auto")
    assert isinstance(engine, TensorRTEngine)
    assert (engine.spec.name, engine.spec.precision) == ("pcr-lite", "fp16")
    assert "shift" in Sidecar.read(engine.plan).agreement or "relative" in (
        Sidecar.read(engine.plan).agreement
    )


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_the_estimator_takes_the_engine_that_build_made(tensorrt: Any, precision: Any) -> None:
    build("pcr-nano", precision)
    assert tensorrt.behaviour.builds == 1
    engine = make_engine("pcr-nano", device="cuda", precision=precision)
    assert isinstance(engine, TensorRTEngine)
    assert engine.spec.precision == ("fp16" if precision == "auto" else precision)
    assert tensorrt.behaviour.builds == 1


def test_engine_that_computes_something_else_is_set_aside(
    tensorrt: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    tensorrt.behaviour.distort = lambda maps: np.roll(maps, 2, axis=3)
    engine = make_engine(model, device="auto")
    assert isinstance(engine, OnnxRuntimeEngine)
    assert "differs too much" in caplog.text
    assert "ONNX Runtime is used instead" in caplog.text
    for _ in range(2):
        with pytest.raises(ModelError, match="differs too much"):
            make_engine(model, device="cuda")
    assert tensorrt.behaviour.builds == 1


def test_the_comparison_leaves_no_buffers(tensorrt: Any, tmp_path: Path) -> None:
    engine = make_engine(brightness_model(tmp_path / "toy.onnx", SPEC), device="cuda")
    assert isinstance(engine, TensorRTEngine)
    assert Sidecar.read(engine.plan).agreement
    gc.collect()
    assert engine.memory() == []
    np.testing.assert_allclose(
        engine.run(random_images(2))[0][:, 16], random_images(2)[:, 0], rtol=1e-6
    )


def test_without_a_gpu_the_reason_is_told(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    monkeypatch.setattr(emulated_cupy.cuda.runtime, "getDeviceCount", lambda: 0)
    assert isinstance(make_engine(model, device="auto"), OnnxRuntimeEngine)
    with pytest.raises(
        InputError, match=r"^There is no cuda:0.*Nor is there another way: .*onnxruntime-gpu"
    ):
        make_engine(model, device="cuda")
    tensorrt.behaviour.has_driver = False
    with pytest.raises(ModelError, match="NVIDIA GPU and its driver"):
        cached_engine(load(), model, SPEC, device=None)


def broken_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, log_stream: Any = None) -> None:
        raise RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: no such file")

    monkeypatch.setattr(emulated_cupy.RawModule, "compile", refuse)


def test_kernels_that_do_not_compile_are_found_before_minutes_are_spent(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    broken_nvrtc(monkeypatch)
    monkeypatch.setattr(loading, "look_for_gpus", lambda: Gpus(names=["Orin"]))
    for _ in range(2):
        engine = make_engine(model, device="auto")
        assert isinstance(engine, OnnxRuntimeEngine)
    assert len(caplog.records) == 1
    assert "though there is a GPU" in caplog.text
    assert ".[cuda12]" in caplog.text
    with pytest.raises(InputError, match=r"libnvrtc\.so\.12.*NVRTC and CUDA's headers") as error:
        make_engine(model, device="cuda")
    assert "\n" not in str(error.value)
    with pytest.raises(MissingDependencyError, match="cannot be compiled"):
        loading.tensorrt_engine(model)
    assert tensorrt.behaviour.builds == 0


def without_cupy(tensorrt: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "cupy", None)


def old_driver(tensorrt: Any, patch: pytest.MonkeyPatch) -> None:
    def count() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    patch.setattr(emulated_cupy.cuda.runtime, "getDeviceCount", count)


def without_tensorrt(tensorrt: Any, patch: pytest.MonkeyPatch) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        patch.setitem(sys.modules, module, None)


def without_nvrtc(tensorrt: Any, patch: pytest.MonkeyPatch) -> None:
    broken_nvrtc(patch)


def broken_kernel(tensorrt: Any, patch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, log_stream: Any = None) -> None:
        raise RuntimeError("frame.cuh(87): error: identifier is undefined")

    patch.setattr(emulated_cupy.RawModule, "compile", refuse)


def engine_that_fails(tensorrt: Any, patch: pytest.MonkeyPatch) -> None:
    tensorrt.behaviour.builds_engines = False


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (without_cupy, "needs CuPy: pip install"),
        (old_driver, r"driver is too old.*\.\[cuda12\]"),
        (without_tensorrt, r"TensorRT cannot be used.*pip install '\.\[cuda13\]'"),
        (without_nvrtc, r"libnvrtc.*NVRTC and CUDA's headers come with pip install"),
        (broken_kernel, r"frame\.cuh\(87\).*pcr-rt doctor --json"),
        (engine_that_fails, r"cannot build.*Conv_7.*'pcr-rt build' tries again"),
    ],
)
def test_whatever_is_missing_is_a_sentence(
    tensorrt: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cause: Any,
    words: str,
) -> None:
    """``auto`` goes on and says why once, ``cuda`` raises the same."""
    model = brightness_model(tmp_path / "toy.onnx", SPEC)
    monkeypatch.setattr(loading, "look_for_gpus", lambda: Gpus(cuda=(12, 2), names=["Orin"]))
    cause(tensorrt, monkeypatch)
    for _ in range(2):
        assert isinstance(make_engine(model, device="auto"), OnnxRuntimeEngine)
    said = [r.getMessage() for r in caplog.records if re.search(words, r.getMessage())]
    assert len(said) == 1
    with pytest.raises(PoseError, match=words) as error:
        make_engine(model, device="cuda")
    assert "\n" not in str(error.value)
    assert tensorrt.behaviour.builds == (1 if cause is engine_that_fails else 0)


def test_a_machine_without_a_gpu_is_not_told_so(
    tensorrt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken_nvrtc(monkeypatch)
    monkeypatch.setattr(loading, "look_for_gpus", lambda: Gpus("there is no NVIDIA driver"))
    make_engine(brightness_model(tmp_path / "toy.onnx", SPEC), device="auto")
    assert not caplog.records


@pytest.mark.parametrize("tensorrt", ["rtx-1.7.1"], indirect=True)
def test_a_gpu_that_rtx_makes_no_kernels_for(tensorrt: Any) -> None:
    tensorrt.behaviour.gpu.update(major=9, minor=0)
    assert "no kernels for compute capability 9.0" in loading.tensorrt_problem("cuda")
    tensorrt.behaviour.gpu.update(major=8, minor=9)
    assert loading.tensorrt_problem("cuda") == ""
