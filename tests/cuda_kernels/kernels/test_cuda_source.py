"""The kernels' sources: complete, compilable for every GPU, wrapped under the reference's names."""

from __future__ import annotations

import importlib.util
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pcr_rt.cuda_kernels import kernels, reference
from pcr_rt.cuda_kernels.kernels.cuda_source import FILES, KERNELS, source

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = (
    "crop_persons",
    "letterbox",
    "decode_heatmaps",
    "decode_simcc",
    "decode_boxes",
    "box_nms",
    "oks_nms",
)


def nvrtc_table():
    path = ROOT / "benchmarks" / "nvrtc_table.py"
    spec = importlib.util.spec_from_file_location("nvrtc_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@pytest.mark.slow
def test_every_kernel_compiles_for_every_architecture():
    table = nvrtc_table()
    library = table.load()
    if library is None:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
    architectures = table.supported(library)
    assert {75, 80, 86, 87, 89, 90} <= set(architectures)
    text = source()
    with ThreadPoolExecutor(2) as pool:
        logs = list(pool.map(lambda a: table.compile_for(library, a, text)[1], architectures))
    for log in logs:
        found = table.usage(log)
        assert sorted(found) == sorted(KERNELS)
        for name, usage in found.items():
            assert 0 < usage.registers <= 64, name
            assert usage.spilled == 0, name
            assert usage.shared <= 48 << 10, name


def test_the_assembler_s_log_is_understood():
    log = """ptxas info    : Compiling entry function 'one' for 'sm_80'
ptxas info    : Function properties for one
    8 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 33 registers, used 1 barriers, 48 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'two' for 'sm_80'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, 360 bytes cmem[0]
"""
    assert nvrtc_table().usage(log) == {"one": (33, 40, 48), "two": (10, 0, 0)}


def test_what_does_not_compile_is_told_with_its_line():
    table = nvrtc_table()
    library = table.load()
    if library is None:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
    text = '#line 7 "wrong.cu"\nextern "C" __global__ void wrong() { nothing(); }\n'
    with pytest.raises(RuntimeError, match=r"sm_80: [\s\S]*wrong.cu\(7\)[\s\S]*nothing"):
        table.compile_for(library, 80, text)
