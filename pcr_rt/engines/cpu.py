"""The processor: its name, the cores that may be used, and the instructions that INT8 hangs on."""

from __future__ import annotations

import importlib
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Processor", "processor", "read_cpuinfo", "usable_cores"]

CPUINFO = Path("/proc/cpuinfo")
FEATURES = {
    "AVX2": ("avx2", "AVX2"),
    "AVX-512": ("avx512f", "AVX512F"),
    "AVX-VNNI": ("avx_vnni", ""),
    "AVX-512 VNNI": ("avx512_vnni", "AVX512VNNI"),
    "AMX INT8": ("amx_int8", ""),
    "NEON": ("asimd", "ASIMD"),
    "ARM dot product": ("asimddp", "ASIMDDP"),
    "ARM INT8 matrices": ("i8mm", ""),
}
"""What each is called in Linux's list and in NumPy's, which knows fewer."""
INT8_FEATURES = {
    "AVX-VNNI",
    "AVX-512 VNNI",
    "AMX INT8",
    "ARM dot product",
    "ARM INT8 matrices",
}
"""With one of them a processor sums products of bytes in one instruction."""


@dataclass(frozen=True)
class Processor:
    """The processor; features: those of `FEATURES` that it has, None if nothing tells."""

    name: str
    features: tuple[str, ...] | None

    @property
    def int8_features(self) -> tuple[str, ...]:
        """Those of its features that multiply bytes fast."""
        return tuple(name for name in self.features or () if name in INT8_FEATURES)


@cache
def processor() -> Processor:
    """Describe this machine's processor: by Linux, elsewhere by what NumPy has found."""
    try:
        name, features = read_cpuinfo(CPUINFO.read_text())
    except OSError:
        name, features = "", _by_numpy()
    return Processor(name or platform.processor() or platform.machine(), features)


def read_cpuinfo(text: str) -> tuple[str, tuple[str, ...] | None]:
    """Read name and features in Linux's /proc/cpuinfo; on ARM there is often no name."""
    table: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        table.setdefault(key.strip(), value.strip())
    flags = table.get("flags") or table.get("Features")
    if flags is None:
        return table.get("model name", ""), None
    known = set(flags.split())
    features = tuple(name for name, (linux, _) in FEATURES.items() if linux in known)
    return table.get("model name", ""), features


def _by_numpy() -> tuple[str, ...] | None:
    try:
        known = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):  # no public name gives them
        return None
    return tuple(name for name, (_, numpy) in FEATURES.items() if known.get(numpy))


def usable_cores() -> int:
    """Count the cores that this process may use; ONNX Runtime itself counts the whole machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
