"""Compiles the CUDA kernels for the CPU and calls them in a worker process."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pcr_rt.cuda_kernels.reference as reference_module

SOURCES = Path(reference_module.__file__).parents[1]
SUPPORT = Path(__file__).parent
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_kernels(
    output: Path,
    sources: Path = SOURCES,
    optimise: int = 1,
    sanitizers: tuple[str, ...] = SANITIZERS,
) -> Path:
    """Compile the emulated kernels to a library, with both sanitizers; skip without g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("the CUDA kernels run on the CPU through g++, which is not installed")
    if sanitizers and not Path(_preload().partition(":")[0]).is_absolute():
        pytest.skip("g++ has no address sanitizer (libasan), which the CUDA kernels are run with")
    command = [compiler, "-std=c++20", f"-O{optimise}", "-g1", "-fPIC", "-shared", *sanitizers]
    command += [sources / "emulator" / "driver.cpp", "-o", output]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


@functools.cache
def _preload() -> str:
    """Find the sanitizer's run-time library, and that of C++, whose exceptions it wants to see."""
    found = []
    for name in ("libasan.so", "libstdc++.so.6"):
        command = ["g++", f"-print-file-name={name}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(done.stdout.strip())
    return ":".join(found)


class CrashError(Exception):
    """The worker has ended: what the sanitizers said."""


class EmulatedKernels:
    """The functions of ``pcr_rt.cuda_kernels.kernels``, run in a worker.

    order: in which a block's threads take turns, ``ascending`` or ``descending``. ``launches``
    holds the kernels of the last call.
    """

    def __init__(self, library: Path, order: str = "ascending") -> None:
        self.order = order
        self.launches: list[str] = []
        # Python never frees some of its memory, and it is not its overflows that are looked for.
        settings = "detect_leaks=0:allocator_may_return_null=1:abort_on_error=0"
        environment = {
            **os.environ,
            "LD_PRELOAD": _preload(),
            "ASAN_OPTIONS": settings,
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONPATH": str(SUPPORT),
            "PYTHONMALLOC": "malloc",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, SUPPORT / "kernel_worker.py", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self._call, name)

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        entry, exit_ = self._process.stdin, self._process.stdout
        assert entry is not None
        assert exit_ is not None
        try:
            pickle.dump((self.order, name, arguments, options), entry)
            entry.flush()
            answer, self.launches = pickle.load(exit_)
        except (EOFError, BrokenPipeError):
            raise CrashError(self.close()) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> str:
        """End the worker; returns what it wrote to stderr."""
        return self._process.communicate()[1].decode(errors="replace")
