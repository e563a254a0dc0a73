"""Every kernel compiles with the options of CuPy, in every version of CUDA, without spills.

Compilers and CuPy are downloaded (560 MB), so all but one test run with ``make contracts`` alone,
which names a folder for them in PCR_RT_WHEELS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nvrtc_table
import pytest

from pcr_rt.cuda_kernels.kernels.cuda_source import KERNELS

MOST_REGISTERS = 72
"""Of a thread: seven blocks of decode_heatmaps, the largest, share a multiprocessor."""


def test_the_assembler_s_log_is_understood() -> None:
    log = """ptxas info    : Compiling entry function 'one' for 'sm_80'
ptxas info    : Function properties for one
    8 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 33 registers, used 1 barriers, 48 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'two' for 'sm_80'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, 360 bytes cmem[0]
"""
    assert nvrtc_table.usage(log) == {"one": (33, 40, 48), "two": (10, 0, 0)}


@pytest.fixture(scope="module")
def wheels() -> Path:
    folder = os.environ.get("PCR_RT_WHEELS")
    if not folder:
        pytest.skip("kernels are compiled with every CUDA by: make contracts")
    return Path(folder)


def test_what_does_not_compile_is_told_with_its_line(wheels: Path) -> None:
    library = nvrtc_table.load(wheels, "13.5")
    text = '#line 7 "wrong.cu"\nextern "C" __global__ void wrong() { nothing(); }\n'
    with pytest.raises(RuntimeError, match=r"sm_80 [\s\S]*wrong.cu\(7\)[\s\S]*nothing"):
        nvrtc_table.compile_for(library, ("-arch=sm_80",), text)


@pytest.mark.slow
def test_every_kernel_compiles_for_every_architecture(wheels: Path) -> None:
    versions = nvrtc_table.compile_everywhere(wheels)
    for version, columns in versions.items():
        assert {75, 80, 86, 87, 89, 90} <= columns.keys()
        for architecture, column in columns.items():
            assert sorted(column) == sorted(KERNELS)
            for name, usage in column.items():
                words = f"{name}, CUDA {version}, sm_{architecture}"
                assert 0 < usage.registers <= MOST_REGISTERS, words
                assert usage.spilled == 0, words
                assert usage.shared <= 48 << 10, words


OPTIONS = """
import json, sys, warnings
warnings.simplefilter("ignore")
from cupy._core import core
from cupy.cuda import compiler

class Stop(Exception):
    pass

class Program:
    def __init__(self, *arguments, **options):
        pass

    def compile(self, options=(), log_stream=None):
        print(json.dumps(options))
        raise Stop

version, architecture = json.loads(sys.argv[1])
compiler._NVRTCProgram = Program
compiler._get_nvrtc_version = lambda: tuple(version)
compiler._preprocess = lambda *arguments: ""
for name in ("_get_arch_for_options_for_nvrtc", "_get_max_compute_capability"):
    # Without the store of answers a device, which asks the driver.
    setattr(compiler, name, getattr(compiler, name).__wrapped__)
try:
    core.compile_with_cache("", ("--std=c++17",), arch=architecture)
except Stop:
    pass
"""


@pytest.mark.parametrize(
    ("cupy", "version"),
    [("13.6.0", v) for v in nvrtc_table.WHEELS if not v.startswith("13")]
    + [("14.2.0", v) for v in nvrtc_table.WHEELS if v != "11.8"],
)
def test_the_options_are_those_of_cupy(wheels: Path, cupy: str, version: str) -> None:
    """CuPy is stopped where it would call NVRTC, of which it only has to find one."""
    packages = [
        nvrtc_table.unpacked(wheels, f"cupy-cuda12x=={cupy}", into=cupy),
        nvrtc_table.unpacked(wheels, "fastrlock", "cuda-pathfinder", into="needed"),
    ]
    nvrtc = nvrtc_table.unpacked(wheels, nvrtc_table.WHEELS["12.9"], into="nvrtc-12.9")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, packages)),
        "LD_LIBRARY_PATH": str(nvrtc / "nvidia" / "cuda_nvrtc" / "lib"),
    }
    numbers = json.dumps([[int(n) for n in version.split(".")], "75"])
    command = [sys.executable, "-c", OPTIONS, numbers]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    options = [o for o in json.loads(done.stdout) if not o.startswith("-I")]
    assert options == list(nvrtc_table.cupy_options(version, 75))
