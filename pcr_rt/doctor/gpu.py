"""NVIDIA's side: driver, GPU, JetPack, CuPy, our kernels, TensorRT, PyCUDA, NVDEC."""

from __future__ import annotations

import ctypes
import importlib
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from pcr_rt.doctor.check import Check, find_module, one_line
from pcr_rt.engines import gpu
from pcr_rt.engines.gpu import Gpus, check_kernels, look_for_gpus
from pcr_rt.engines.tensorrt.api import load
from pcr_rt.engines.tensorrt.sidecar import failures
from pcr_rt.errors import PoseError
from pcr_rt.inference.loading import tensorrt_problem
from pcr_rt.media.video_decoder import has_nvdec

__all__ = ["gpu_checks"]

DRIVER_RELEASE = Path("/proc/driver/nvidia/version")
JETPACKS = {"36.2": "6.0", "36.3": "6.0", "36.4": "6.1 or 6.2", "38.": "7.0 or 7.1", "39.": "7.2"}
"""JetPack by the beginning of the L4T release."""
DECODERS = ("nvv4l2decoder", "nvh264dec")


def gpu_checks() -> list[Check]:
    """Look at what runs models on a GPU. Nothing is raised."""
    gpus = look_for_gpus()
    release = gpu.l4t_release()
    return [
        _driver(gpus),
        *_jetpack(release),
        _cupy(gpus, release),
        *_kernels(gpus, release),
        _tensorrt(gpus, release),
        *_engines(),
        _pycuda(),
        _decoder(),
        _in_use(),
    ]


def _driver(gpus: Gpus) -> Check:
    if gpus.problem:
        return Check("GPU", "missing", f"{gpus.problem}: models run on the CPU")
    found = None
    if DRIVER_RELEASE.is_file():
        found = re.search(r"Module\D*?\s(\d+\.[\d.]+)", DRIVER_RELEASE.read_text())
    driver = f"driver {found[1]}, " if found else ""
    cuda = f"up to CUDA {gpus.cuda[0]}.{gpus.cuda[1]}"
    return Check("GPU", "ok", f"{'; '.join(gpus.names)}; {driver}{cuda}")


def _jetpack(release: str | None) -> list[Check]:
    if release is None:
        return []
    jetpack = next((name for start, name in JETPACKS.items() if release.startswith(start)), None)
    if release.startswith(("32.", "35.")):
        return [
            Check(
                "JetPack",
                "error",
                f"L4T {release} is JetPack 5 or older (TensorRT 8.5, Python 3.8), unsupported",
                "update the board to JetPack 6 or 7",
            )
        ]
    return [Check("JetPack", "ok", f"{jetpack or 'of unknown version'}, L4T {release}")]


def _extra(gpus: Gpus, release: str | None) -> str:
    """The command that brings this machine's CUDA packages."""
    if release is not None:
        return f'pip install ".[jetson{6 if release.startswith("36.") else 7}]"'
    if 0 < gpus.cuda[0] < 12:
        return "update the NVIDIA driver: 525 is the oldest that serves CUDA 12"
    return f'pip install ".[cuda{12 if gpus.cuda[0] == 12 else 13}]"'


def _kernels(gpus: Gpus, release: str | None) -> list[Check]:
    """Whether our CUDA kernels compile: needs NVRTC, CUDA's headers and a driver new enough."""
    if gpus.problem or not find_module("cupy"):
        return []
    repair = _extra(gpus, release)
    if release is not None:
        repair = f"sudo apt install nvidia-jetpack, then {repair}"
    try:
        check_kernels(0)
    except Exception as error:  # CuPy itself may be what is broken
        return [Check("CUDA kernels", "warning", one_line(error), repair)]
    return [Check("CUDA kernels", "ok", "compile on this machine")]


def _cupy(gpus: Gpus, release: str | None) -> Check:
    if not find_module("cupy"):
        return Check(
            "CuPy", "missing", "not installed, needed only for NVIDIA GPUs", _extra(gpus, release)
        )
    versions = _distributions("cupy")
    shown = next(iter(versions.values()), "version unknown")
    if len(versions) > 1:
        return Check(
            "CuPy",
            "error",
            f"{' and '.join(versions)} are both installed and write over each other's files",
            f"pip uninstall -y {' '.join(versions)}, then {_extra(gpus, release)}",
        )
    if gpus.problem:
        return Check("CuPy", "ok", f"{shown}, has no use here: {gpus.problem}")
    try:
        # It imports without CUDA: only work on the device proves that it works.
        cupy = importlib.import_module("cupy")
        total = int((cupy.arange(4, dtype="float32") ** 2).sum())
    except Exception as error:  # CuPy and CUDA raise a dozen classes
        return Check(
            "CuPy", "warning", f"{shown}, does not run: {one_line(error)}", _extra(gpus, release)
        )
    if total != 14:
        return Check("CuPy", "error", f"{shown} computes 0 + 1 + 4 + 9 = {total}")
    return Check("CuPy", "ok", f"{shown}, runs on the GPU")


def _tensorrt(gpus: Gpus, release: str | None) -> Check:
    remedy = _extra(gpus, release)
    if release is not None:
        remedy = "sudo apt install nvidia-jetpack; then see docs/how-to/jetson.md"
    try:
        api = load()
    except PoseError as error:
        versions = _distributions("tensorrt")
        if not versions:
            detail = "not installed, needed only for NVIDIA GPUs"
            if release is not None:
                detail += "; JetPack's is seen by the system's Python only"
            return Check("TensorRT", "missing", detail, remedy)
        shown = ", ".join(f"{name} {version}" for name, version in versions.items())
        return Check("TensorRT", "warning", f"{shown}: {one_line(error)}", remedy)
    except Exception as error:  # a damaged installation raises anything
        return Check("TensorRT", "warning", f"cannot be imported: {one_line(error)}", remedy)
    detail = f"{api.product} {api.version}, {api.precision_path}"
    if gpus.problem:
        able = "builds engines for other machines" if api.is_rtx else "can do nothing"
        return Check("TensorRT", "ok", f"{detail}; {able} here: {gpus.problem}")
    return Check("TensorRT", "ok", detail)


def _engines() -> list[Check]:
    """Engines of the default cache that could not be built, or were wrong."""
    return [
        Check("TensorRT engine", "warning", reason, f"pcr-rt build, or delete {path}")
        for path, reason in failures().items()
    ]


def _pycuda() -> Check:
    version = _distributions("pycuda").get("pycuda")
    if version is None:
        return Check(
            "PyCUDA",
            "missing",
            'not installed, needed only for host_io="pycuda"',
            'pip install ".[pycuda]"',
        )
    return Check("PyCUDA", "ok", version)


def _decoder() -> Check:
    """NVDEC, for files and streams through PyAV, and for GStreamer pipelines."""
    inspect = shutil.which("gst-inspect-1.0")
    found = [
        element
        for element in DECODERS
        if inspect and not subprocess.run([inspect, "--exists", element], check=False).returncode
    ]
    ways = [f"GStreamer element {' and '.join(found)}"] if found else []
    if has_nvdec():
        ways.insert(0, "PyAV (--decoder nvdec)")
    if ways:
        return Check("NVDEC", "ok", "; ".join(ways))
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError:
        return Check("NVDEC", "missing", "no GStreamer element and no libnvcuvid.so.1 for it")
    return Check(
        "NVDEC",
        "missing",
        "the driver has it, PyAV cannot use it and GStreamer has no element for it",
        "pip install -U av",
    )


def _in_use() -> Check:
    """What ``device="auto"`` takes on this machine."""
    problem = tensorrt_problem("auto")
    if not problem:
        return Check("device auto", "ok", "TensorRT")
    try:
        providers = importlib.import_module("onnxruntime").get_available_providers()
    except Exception as error:  # what is wrong with it, its own check tells
        return Check("device auto", "error", f"nothing can run models: {one_line(error)}")
    place = "CUDA" if "CUDAExecutionProvider" in providers else "the CPU"
    return Check("device auto", "ok", f"ONNX Runtime on {place}; not TensorRT: {problem}")


def _distributions(start: str) -> dict[str, str]:
    """Installed distributions of a family, such as cupy-cuda12x, with their versions."""
    pattern = re.compile(rf"{start}(-rtx)?(-cuda?\d+x?)?")
    return {
        name: one.version
        for one in metadata.distributions()
        if (name := str(one.metadata["Name"] or "").lower()) and pattern.fullmatch(name)
    }
