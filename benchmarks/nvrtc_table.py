"""Compiles every CUDA kernel for every supported GPU generation, without a GPU.

Run: python benchmarks/nvrtc_table.py [--write docs/kernels.md]

Needs the wheel nvidia-cuda-nvrtc (CUDA 13) or nvidia-cuda-nvrtc-cu12. Prints a Markdown table of
registers a thread, spilled bytes and shared memory a block, as the assembler reports them.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pcr_rt.cuda_kernels.kernels.cuda_source import KERNELS, source

# Turing, A100, Ampere, Orin, Ada, Hopper, Blackwell (B200, Thor, RTX 50).
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
BEGIN, END = "<!-- nvrtc table: begin -->\n", "<!-- nvrtc table: end -->\n"


class Usage(NamedTuple):
    registers: int
    spilled: int  # bytes, stores and loads
    shared: int  # bytes a block


def load() -> ctypes.CDLL | None:
    """Load the newest NVRTC of the installed wheels, or the system's; None if there is none."""
    names = []
    spec = find_spec("nvidia")
    for root in (spec.submodule_search_locations or []) if spec else []:
        names += sorted(map(str, Path(root).glob("*/lib/libnvrtc.so.*")), reverse=True)
    for name in [*names, "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    return None


def version(library: ctypes.CDLL) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def supported(library: ctypes.CDLL) -> tuple[int, ...]:
    """List those of ARCHITECTURES that this version compiles for."""
    count = ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(known)
    return tuple(a for a in ARCHITECTURES if a in list(known))


def compile_for(library: ctypes.CDLL, architecture: int, text: str) -> tuple[bytes, str]:
    """Compile ``text`` for one architecture; return the cubin and the log.

    Raises RuntimeError if it does not compile.
    """
    program = ctypes.c_void_p()
    options = [f"--gpu-architecture=sm_{architecture}", "--std=c++17", "--ptxas-options=-v"]
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"pcr_rt.cu", 0, None, None)
    given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    status = library.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    try:
        if status:
            reason = library.nvrtcGetErrorString(status).decode()
            raise RuntimeError(f"sm_{architecture}: {reason}\n{log.value.decode()}")
        library.nvrtcGetCUBINSize(program, ctypes.byref(size))
        cubin = ctypes.create_string_buffer(size.value)
        library.nvrtcGetCUBIN(program, cubin)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    return cubin.raw, log.value.decode()


def usage(log: str) -> dict[str, Usage]:
    """Read what the assembler says of each kernel."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        numbers = [
            sum(map(int, re.findall(pattern, part)))
            for pattern in (r"Used (\d+) registers", r"(\d+) bytes spill", r"(\d+) bytes smem")
        ]
        found[part.partition("'")[0]] = Usage(*numbers)
    return found


def table(library: ctypes.CDLL) -> str:
    """Write a Markdown table: one row per kernel, one column per architecture."""
    columns = {a: usage(compile_for(library, a, source())[1]) for a in supported(library)}
    lines = [
        f"NVRTC {version(library)}: registers a thread / spilled bytes / shared bytes a block.",
        "",
        "| kernel | " + " | ".join(f"sm_{a}" for a in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for kernel in KERNELS:
        cells = ["{}/{}/{}".format(*column[kernel]) for column in columns.values()]
        lines.append(f"| `{kernel}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, help="put the table into this Markdown file")
    path = parser.parse_args().write
    library = load()
    if library is None:
        print("There is no NVRTC: pip install nvidia-cuda-nvrtc.", file=sys.stderr)
        return 2
    text = table(library)
    print(text, end="")
    if path:
        before, _, rest = path.read_text().partition(BEGIN)
        path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
