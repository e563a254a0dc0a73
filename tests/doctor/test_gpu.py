from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pcr_rt.doctor import gpu
from pcr_rt.doctor.check import Check
from pcr_rt.doctor.diagnosis import diagnose
from pcr_rt.doctor.gpu import gpu_checks
from pcr_rt.engines import gpu as engine_gpu
from pcr_rt.engines.tensorrt.sidecar import Sidecar, cache_folder
from pcr_rt.models import ModelSpec
from stand_in_driver import Driver


def named(name: str) -> Check:
    return {check.name: check for check in gpu_checks()}[name]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver().install(monkeypatch)


def release(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> None:
    path.write_text(text)
    monkeypatch.setattr(engine_gpu, "L4T_RELEASE", path)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    check = named("GPU")
    assert check.status == "missing"
    assert "there is no NVIDIA driver" in check.detail
    assert "JetPack" not in {check.name for check in gpu_checks()}


def test_gpu_is_described(driver: Driver) -> None:
    assert named("GPU").detail.startswith("Orin, compute capability 8.7, 16 SM, 8 GiB; ")
    assert "up to CUDA 12.6" in named("GPU").detail
    driver.count = 0
    assert "finds no GPU" in named("GPU").detail
    driver.code = 999
    assert "error 999" in named("GPU").detail


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 1", "ok", "6.1 or 6.2, L4T 36.4.3"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "ok", "7.0 or 7.1, L4T 38.2.0"),
        ("# R35 (release), REVISION: 6.0, GCID: 1", "error", "JetPack 5 or older"),
        ("# R44 (release), REVISION: 1.0, GCID: 1", "ok", "of unknown version"),
    ],
)
def test_jetpack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, status: str, words: str
) -> None:
    release(monkeypatch, tmp_path / "release", text)
    check = named("JetPack")
    assert check.status == status
    assert words in check.detail


def test_remedies_fit_the_machine(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("cupy", "tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(gpu, "find_module", lambda name: False)
    monkeypatch.setattr(gpu, "_distributions", lambda start: {})
    assert named("CuPy").remedy == 'pip install ".[cuda12]"'
    assert named("TensorRT").remedy == 'pip install ".[cuda12]"'
    release(monkeypatch, tmp_path / "release", "# R36 (release), REVISION: 4.3")
    assert named("CuPy").remedy == 'pip install ".[jetson6]"'
    assert "nvidia-jetpack" in named("TensorRT").remedy
    release(monkeypatch, tmp_path / "release", "# R38 (release), REVISION: 2.0")
    assert named("CuPy").remedy == 'pip install ".[jetson7]"'
    assert "not TensorRT" in named("device auto").detail


def test_tensorrt_without_its_libraries_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text(
            "raise OSError('libnvinfer.so.10: cannot open shared object file')"
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(gpu, "_distributions", lambda start: {"tensorrt-cu12": "10.3.0"})
    check = named("TensorRT")
    assert check.status == "warning"
    assert "libnvinfer.so.10" in check.detail


def test_precision_path_is_told(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> None:
    pytest.importorskip("onnx")
    import tensorrt_standin

    monkeypatch.setattr(gpu, "find_module", lambda name: True)
    tensorrt_standin.install(monkeypatch, "8.6.1")
    assert "TensorRT 8.6.1, weakly typed" in named("TensorRT").detail
    tensorrt_standin.install(monkeypatch, "11.4.0.106")
    assert "TensorRT 11.4.0.106, strongly typed" in named("TensorRT").detail
    assert named("device auto").detail == "TensorRT"


def test_too_old_tensorrt_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(__version__="8.5.2", ILogger=object)
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setattr(gpu, "_distributions", lambda start: {"tensorrt": "8.5.2"})
    assert "8.5.2 is too old" in named("TensorRT").detail


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        ("", 'pip install ".[cuda12]"'),
        ("# R36 (release), REVISION: 3.0", "sudo apt install nvidia-jetpack, then"),
    ],
)
def test_kernels_that_do_not_compile_are_named_with_the_repair(
    monkeypatch: pytest.MonkeyPatch, driver: Driver, tmp_path: Path, text: str, repair: str
) -> None:
    pytest.importorskip("onnx")
    import emulated_cupy
    import tensorrt_standin

    monkeypatch.setattr(gpu, "find_module", lambda name: True)
    tensorrt_standin.install(monkeypatch, "10.3.0")
    release(monkeypatch, tmp_path / "release", text)
    assert named("CUDA kernels").status == "ok"

    def refuse(self: Any, log_stream: Any = None) -> None:
        raise RuntimeError("CuPy failed to load libnvrtc.so.12")

    monkeypatch.setattr(emulated_cupy.RawModule, "compile", refuse)
    check = named("CUDA kernels")
    assert check.status == "warning"
    assert "libnvrtc.so.12" in check.detail
    assert repair in check.remedy
    assert "not TensorRT: The CUDA kernels cannot be compiled" in named("device auto").detail


def test_engines_that_could_not_be_built_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "TensorRT engine" not in {check.name for check in gpu_checks()}
    # Looking makes no folder; GStreamer, which is asked for its plugins, keeps a list of them.
    assert {path.name for path in tmp_path.iterdir()} <= {"gstreamer-1.0"}
    spec = ModelSpec("toy", "heatmap", (48, 64))
    plan = cache_folder() / "toy-fp16-0123.engine"
    Sidecar("", {}, spec, failed="TensorRT cannot build toy.onnx: Conv_7.").write(plan)
    check = named("TensorRT engine")
    assert (check.status, check.detail) == ("warning", "TensorRT cannot build toy.onnx: Conv_7.")
    assert check.remedy == f"pcr-rt build, or delete {plan}.json"


def test_a_driver_before_cuda_12_has_to_be_updated(
    monkeypatch: pytest.MonkeyPatch, driver: Driver
) -> None:
    driver.version = 11080
    monkeypatch.setattr(gpu, "find_module", lambda name: False)
    assert "update the NVIDIA driver" in named("CuPy").remedy


def test_cupy_is_tried_on_the_device(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> None:
    monkeypatch.setattr(gpu, "find_module", lambda name: True)
    monkeypatch.setattr(gpu, "_distributions", lambda start: {"cupy-cuda12x": "13.6.0"})
    monkeypatch.setattr(gpu, "tensorrt_problem", lambda device: "")
    monkeypatch.setattr(gpu, "check_kernels", lambda device: None)
    monkeypatch.setitem(sys.modules, "cupy", np)
    assert named("CuPy") == Check("CuPy", "ok", "13.6.0, runs on the GPU")
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace())
    assert named("CuPy").status == "warning"
    two = {"cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.2.0"}
    monkeypatch.setattr(gpu, "_distributions", lambda start: two)
    assert "both installed" in named("CuPy").detail


def test_system_opencv_that_does_not_fit_numpy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    (tmp_path / "cv2.py").write_text("raise ImportError('numpy.core.multiarray failed to import')")
    monkeypatch.syspath_prepend(tmp_path)
    check = {check.name: check for check in diagnose()}["OpenCV"]
    assert check.status == "error"
    assert "NumPy 1" in check.detail
    assert 'pip install "numpy<2"' in check.remedy
