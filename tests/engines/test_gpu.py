"""What is told of a GPU, and what is said if there is none that can be used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import emulated_cupy
from pcr_rt.engines.gpu import (
    Gpus,
    check_kernels,
    device_number,
    gpu_facts,
    l4t_release,
    look_for_gpus,
)
from pcr_rt.errors import InputError, MissingDependencyError
from stand_in_driver import Driver


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver().install(monkeypatch)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "cupy", emulated_cupy)
    return emulated_cupy


def test_the_driver_is_asked(driver: Driver) -> None:
    assert look_for_gpus() == Gpus("", (12, 6), ["Orin, compute capability 8.7, 16 SM, 8 GiB"])
    driver.count = 0
    assert look_for_gpus().problem == "the NVIDIA driver finds no GPU"
    driver.code = 999
    assert "error 999" in look_for_gpus().problem


@pytest.mark.parametrize(("device", "number"), [("auto", 0), ("cuda", 0), ("cuda:3", 3)])
def test_number_of_a_device(device: str, number: int) -> None:
    assert device_number(device) == number


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "auto:1", "cpu"])
def test_no_number_of_a_device(device: str) -> None:
    with pytest.raises(InputError, match="device is"):
        device_number(device)


def test_driver_that_is_too_old_for_cupy(
    driver: Driver, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count() -> int:
        raise RuntimeError(
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime"
        )

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", count)
    with pytest.raises(InputError, match=r"up to 12\.6: update the driver.*\.\[cuda12\]"):
        gpu_facts(0)


@pytest.mark.parametrize(
    ("reason", "repair"),
    [
        ("CuPy failed to load libnvrtc.so.12: OSError", r"\.\[cuda12\]"),
        ('catastrophic error: cannot open source file "cuda_fp16.h"', "nvidia-jetpack"),
        ("CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the PTX was compiled with", "update the NVIDIA driv"),
        ("frame.cuh(87): error: identifier", "pcr-rt doctor --json"),
    ],
)
def test_kernels_that_do_not_compile(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, reason: str, repair: str
) -> None:
    check_kernels(0)

    def refuse(self: Any, log_stream: Any = None) -> None:
        raise RuntimeError(f"{reason}\nand more")

    monkeypatch.setattr(cupy.RawModule, "compile", refuse)
    with pytest.raises(MissingDependencyError, match=repair) as error:
        check_kernels(0)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingDependencyError, match="needs CuPy"):
        check_kernels(0)


def test_release_of_a_jetson(tmp_path: Path) -> None:
    file = tmp_path / "nv_tegra_release"
    assert l4t_release(file) is None
    file.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64")
    assert l4t_release(file) == "36.4.3"
    file.write_text("something else")
    assert l4t_release(file) is None


@pytest.mark.parametrize(
    ("extra", "cupy"),
    [("cuda12", "cupy-cuda12x"), ("cuda13", "cupy-cuda13x"), ("rtx", "cupy-cuda13x")],
)
def test_the_extras_of_x86_bring_a_cupy_that_finds_its_nvrtc(extra: str, cupy: str) -> None:
    """CuPy 13 does not look for NVRTC's wheel, and no CuPy requires it without [ctk]."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert f"{cupy}[ctk]>=14,<15" in extras[extra]
