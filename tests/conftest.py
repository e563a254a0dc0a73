"""What tests share: the data beside the repository, the shipped samples, the GPU mark."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pcr_rt
from drawn_people import draw_people
from emulation import compile_kernels
from pcr_rt.cuda_kernels.kernels import launch

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = Path(pcr_rt.__file__).parent / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the repository, or where PCR_RT_SHARED says it is."""
    folder = Path(os.environ.get("PCR_RT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"there is no data in {folder}")
    return folder


@pytest.fixture(scope="session")
def sample_image() -> Path:
    """The shipped image of people in a street."""
    return SAMPLES / "street.jpg"


@pytest.fixture(scope="session")
def sample_clip() -> Path:
    """The shipped video of people walking."""
    return SAMPLES / "walk.mp4"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 8 drawn people: images, labels.json and a recipe.toml of seconds."""
    return draw_people(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def plain_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CUDA kernels, compiled for the CPU without sanitizers, for use in this process."""
    return compile_kernels(tmp_path_factory.mktemp("kernels") / "plain.so", sanitizers=())


@pytest.fixture
def emulated_device(plain_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CuPy's stand-in, for this process, with clean counters."""
    import emulated_cupy

    emulated_cupy.load(str(plain_kernels))
    monkeypatch.setitem(sys.modules, "cupy", emulated_cupy)
    for cache in (launch._kernel, launch._module, launch._constant, launch._note_copies):
        cache.cache_clear()
    for counter in (
        emulated_cupy.launches,
        emulated_cupy.synchronisations,
        emulated_cupy.waits,
        emulated_cupy.freed,
    ):
        counter.clear()
    emulated_cupy.Graph.launched = 0
    yield emulated_cupy
    launch._kernel.cache_clear()
    launch._constant.cache_clear()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _gpus():
        pytest.skip("there is no NVIDIA GPU")


@functools.cache
def _gpus() -> int:
    """NVIDIA GPUs that the driver finds; Jetsons have the driver, but no nvidia-smi."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    failed = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value
