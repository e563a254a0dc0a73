from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import onnxruntime as ort
import pytest

from pcr_rt import models
from pcr_rt.benchmark import int8
from pcr_rt.benchmark.turns import spread
from pcr_rt.doctor import diagnosis
from pcr_rt.doctor.check import Check
from pcr_rt.doctor.diagnosis import diagnose
from pcr_rt.engines.cpu import Processor
from pcr_rt.errors import ModelError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What INT8 costs is not measured anew for each test."""
    monkeypatch.setattr(int8, "int8_cost", lambda: spread([1.0]))


def install(folder: Path, distribution: str, version: str) -> None:
    """Make ``distribution`` look installed to a Python that has ``folder`` on its path."""
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )


def named(name: str) -> Check:
    return {check.name: check for check in diagnose()}[name]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("PCR-RT", importlib.metadata.version("pcr-rt")),
        ("NumPy", np.__version__),
        ("OpenCV", cv2.__version__),
        ("ONNX Runtime", ort.__version__),
        ("PyAV", av.__version__),
    ],
)
def test_libraries_are_found_with_their_versions(name: str, version: str) -> None:
    check = named(name)
    assert check.status in ("ok", "warning")
    assert check.detail.startswith(version)


def test_shipped_models_load() -> None:
    checks = {check.name: check for check in diagnose()}
    for name in ("pcr-tiny", "pcr-nano", "pcr-lite", "rtmdet-nano"):
        assert checks[f"model {name}"].status == "ok"
    assert checks["model rtmdet-nano"].detail == "boxes, input 416x416, fp32"


@pytest.mark.parametrize(
    ("features", "ratio", "words"),
    [
        (("AVX2",), 1.3, "no VNNI or dot-product instructions; pcr-tiny takes 1.30"),
        (("AVX2",), 1.3, "FP32, the default, is as fast"),
        (("AVX2", "AVX-512 VNNI"), 0.6, "AVX-512 VNNI there; pcr-tiny takes 0.60"),
        (("AVX2", "AVX-512 VNNI"), 0.6, "precision 'int8' saves time"),
        (None, 1.0, "as fast and loses nothing"),
    ],
)
def test_what_int8_costs_on_this_processor(
    features: tuple[str, ...] | None, ratio: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "processor", lambda: Processor("a processor", features))
    monkeypatch.setattr(int8, "int8_cost", lambda: spread([ratio]))
    check = diagnosis._int8()
    assert check.status == "ok"
    assert words in check.detail
    assert diagnosis._processor().detail.startswith("a processor, ")


def test_int8_that_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ModelError("the file is broken")

    monkeypatch.setattr(int8, "int8_cost", fail)
    check = diagnosis._int8()
    assert check.status == "warning"
    assert check.detail.endswith("not measured: the file is broken")


def test_broken_model_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    (tmp_path / "pcr-tiny.onnx").write_bytes(b"not a model")
    check = named("model pcr-tiny")
    assert check.status == "error"
    assert "cannot be loaded" in check.detail
    assert check.remedy


def test_missing_default_model_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    assert named("model rtmdet-nano").status == "error"


@pytest.mark.parametrize(
    ("name", "module"), [("OpenCV", "cv2"), ("ONNX Runtime", "onnxruntime"), ("PyAV", "av")]
)
def test_library_that_cannot_be_imported_is_an_error(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    check = named(name)
    assert check.status == "error"
    assert check.remedy.startswith("pip install")


def test_two_opencv_distributions_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "opencv-python", "4.10.0.84")
    install(tmp_path, "opencv-contrib-python", "4.10.0.84")
    monkeypatch.syspath_prepend(tmp_path)
    check = named("OpenCV")
    assert check.status == "warning"
    assert "opencv-python opencv-" in check.remedy
    assert "opencv-contrib-python" in check.remedy


def test_two_onnx_runtime_distributions_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "onnxruntime", "1.20.0")
    install(tmp_path, "onnxruntime-gpu", "1.20.0")
    monkeypatch.syspath_prepend(tmp_path)
    check = named("ONNX Runtime")
    assert check.status == "error"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in check.remedy


def test_gpu_build_without_cuda_provider_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "ONNX_RUNTIME_DISTRIBUTIONS", ("onnxruntime-gpu",))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.20.0")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    check = named("ONNX Runtime")
    assert check.status == "warning"
    assert "onnxruntime-gpu" in check.remedy


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="ONNX Runtime has CUDA"
)
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_silent_fall_back_from_cuda_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    # The provider is listed, yet a session that asks for it runs on the CPU.
    monkeypatch.setattr(
        ort,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    check = named("ONNX Runtime")
    assert check.status == "warning"
    assert "fell back to the CPU" in check.detail


def test_missing_encoder_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4", "h264"})
    check = named("PyAV")
    assert check.status == "warning"
    assert "MPEG-4" in check.detail


def test_video_back_ends_are_read_from_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    build = (
        "  Video I/O:\n    DC1394:        NO\n    FFMPEG:        NO\n"
        "    GStreamer:     YES (1.20.3)\n    v4l/v4l2:      YES (linux/videodev2.h)\n"
    )
    fake = SimpleNamespace(__version__="4.8.0", getBuildInformation=lambda: build)
    monkeypatch.setitem(sys.modules, "cv2", fake)
    assert named("OpenCV").detail.endswith("video: GStreamer, V4L")


def test_torch_is_looked_up_but_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('imported')")
    install(tmp_path, "torch", "99.1")
    monkeypatch.syspath_prepend(tmp_path)
    assert named("torch") == Check("torch", "ok", "99.1")


def test_optional_package_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    for name in ("torch", "CuPy"):
        check = named(name)
        assert check.status == "missing"
        assert check.remedy.startswith("pip install")
