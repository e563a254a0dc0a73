"""The CUDA kernels, on the CPU in two orders of threads, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import device_arrays
from emulation import EmulatedKernels, compile_kernels


@pytest.fixture(scope="session")
def kernel_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels, compiled for the CPU once."""
    return compile_kernels(tmp_path_factory.mktemp("kernels") / "kernels.so")


class DeviceKernels:
    """The same calls as `EmulatedKernels`, on the GPU."""

    def __getattr__(self, name: str) -> Any:
        import cupy

        from pcr_rt.cuda_kernels import kernels

        def call(*arguments: Any, **options: Any) -> Any:
            arguments, options = device_arrays.to_device((arguments, options), cupy)
            return device_arrays.to_host(getattr(kernels, name)(*arguments, **options), cupy)

        return call


@pytest.fixture(
    scope="session", params=["ascending", "descending", pytest.param("gpu", marks=pytest.mark.gpu)]
)
def kernels(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The functions of ``kernels``: NumPy arrays in and out."""
    if request.param == "gpu":
        pytest.importorskip("cupy")
        yield DeviceKernels()
        return
    emulated = EmulatedKernels(request.getfixturevalue("kernel_library"), request.param)
    yield emulated
    emulated.close()


@pytest.fixture(scope="session")
def emulated(kernel_library: Path) -> Iterator[EmulatedKernels]:
    """For tests that look at launches: the kernels on the CPU only."""
    worker = EmulatedKernels(kernel_library)
    yield worker
    worker.close()
