"""What /proc/cpuinfo says of several processors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pcr_rt.engines import cpu

SKYLAKE = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz
flags\t\t: fpu sse4_2 avx avx2 avx512f avx512dq avx512bw avx512vl

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
ALDER_LAKE = "model name\t: 12th Gen Intel(R) Core(TM)\nflags\t\t: fpu avx2 avx_vnni\n"
ORIN = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes atomics asimdhp asimddp\n"


@pytest.mark.parametrize(
    ("text", "name", "features", "int8"),
    [
        (SKYLAKE, "Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", ("AVX2", "AVX-512"), ()),
        (ALDER_LAKE, "12th Gen Intel(R) Core(TM)", ("AVX2", "AVX-VNNI"), ("AVX-VNNI",)),
        (ORIN, "", ("NEON", "ARM dot product"), ("ARM dot product",)),
    ],
)
def test_cpuinfo_of_linux(
    text: str, name: str, features: tuple[str, ...], int8: tuple[str, ...]
) -> None:
    assert cpu.read_cpuinfo(text) == (name, features)
    assert cpu.Processor(name, features).int8_features == int8


def test_a_list_without_flags_tells_nothing() -> None:
    assert cpu.read_cpuinfo("model name\t: S/390\n") == ("S/390", None)
    assert cpu.Processor("", None).int8_features == ()


def test_without_linux_numpy_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NumPy asks the processor itself, Linux's list is another source: both know AVX2 and NEON."""
    cpu.processor.cache_clear()
    by_linux = cpu.processor()
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "none")
    cpu.processor.cache_clear()
    elsewhere = cpu.processor()
    cpu.processor.cache_clear()
    assert elsewhere.name
    known = {name for name, (_, numpy) in cpu.FEATURES.items() if numpy}
    if by_linux.features is not None:
        assert set(elsewhere.features or ()) == set(by_linux.features) & known


def test_cores_are_those_that_this_process_may_use() -> None:
    if hasattr(os, "sched_getaffinity"):
        assert cpu.usable_cores() == len(os.sched_getaffinity(0))
