"""What tests share: the data beside the repository, the shipped samples, the GPU mark."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

import pytest

import pcr_rt
from drawn_people import draw_people

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
    """The shipped picture of people in a street."""
    return SAMPLES / "street.jpg"


@pytest.fixture(scope="session")
def sample_clip() -> Path:
    """The shipped video of people walking."""
    return SAMPLES / "walk.mp4"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 8 drawn people: images, labels.json and a recipe.toml of seconds."""
    return draw_people(tmp_path_factory.mktemp("drawn"))


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
