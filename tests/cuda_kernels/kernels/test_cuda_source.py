"""The kernels' sources: complete, emulated, wrapped under the reference's names."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from pcr_rt.cuda_kernels import kernels, reference
from pcr_rt.cuda_kernels.kernels.cuda_source import FILES, KERNELS, source

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = (
    "place_people",
    "crop_persons",
    "letterbox",
    "decode_heatmaps",
    "decode_simcc",
    "decode_boxes",
    "box_nms",
    "oks_nms",
)


def test_every_file_is_part_of_the_source_once():
    assert {path.name for path in (ROOT / "cuda_kernels").glob("*.cu")} == set(FILES)
    text = source()
    assert "#include" not in text
    for header in (ROOT / "cuda_kernels").glob("*.cuh"):
        assert text.count(f'#line 1 "{header.name}"') == 1


def test_every_kernel_is_emulated():
    driver = (ROOT / "cuda_kernels" / "emulator" / "driver.cpp").read_text()
    for name in KERNELS:
        assert f"ENTRY({name})," in driver


@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrappers_take_the_same_arguments_as_the_reference(name):
    ours = inspect.signature(getattr(kernels, name)).parameters.values()
    theirs = inspect.signature(getattr(reference, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours if p.name != "out"] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


def test_without_cupy_the_error_names_the_package(monkeypatch):
    from pcr_rt.errors import MissingDependencyError

    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(MissingDependencyError, match="pip install cupy-cuda12x or cupy-cuda13x"):
        kernels.letterbox([], (4, 4), (0, 0, 0), (1, 1, 1))
