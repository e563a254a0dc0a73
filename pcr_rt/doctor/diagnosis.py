"""What is installed, whether it works, and what to do if it does not."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from pcr_rt.doctor.check import Check, find_module, one_line
from pcr_rt.engines.cpu import processor, usable_cores
from pcr_rt.errors import PoseError
from pcr_rt.models import ModelSpec, shipped_models
from pcr_rt.skeleton import Skeleton

__all__ = ["check_model", "diagnose"]


OPENCV_DISTRIBUTIONS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
ONNX_RUNTIME_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
H264_ENCODERS = ("libx264", "libopenh264")
DEFAULT_MODELS = {"pcr-tiny", "rtmdet-nano"}
NUMPY_ABI = r"multiarray failed to import|_ARRAY_API not found|compiled using NumPy 1"
"""What a module that was compiled for NumPy 1 says if it finds NumPy 2."""
INT8_PAYS = 0.95
"""Below that share of FP32's time INT8 is worth a word."""
REINSTALL = "pip install --force-reinstall . in the folder of PCR-RT"


def diagnose() -> list[Check]:
    """Look at the Python environment, the libraries, the shipped models and the processor.

    A fault becomes a `Check` with status ``error``; nothing is raised.
    """
    return [
        Check(
            "Python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}"
        ),
        _package(),
        _library("NumPy", "numpy", "numpy", lambda numpy: Check("NumPy", "ok", numpy.__version__)),
        _library("OpenCV", "cv2", "opencv-python-headless", _opencv),
        _library("ONNX Runtime", "onnxruntime", "onnxruntime", _onnx_runtime),
        _library("PyAV", "av", "av", _pyav),
        _library(
            "aiohttp", "aiohttp", "aiohttp", lambda web: Check("aiohttp", "ok", web.__version__)
        ),
        *(check_model(name) for name in sorted(DEFAULT_MODELS | set(shipped_models()))),
        _processor(),
        _int8(),
        _optional("torch", "torch", ("torch",), "training and export", 'pip install ".[train]"'),
        *_gpu(),
    ]


def _installed(distributions: tuple[str, ...]) -> dict[str, str]:
    """The installed ones of these distributions, with their versions."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _gpu() -> list[Check]:
    from pcr_rt.doctor.gpu import gpu_checks

    try:
        return gpu_checks()
    except Exception as error:  # ONNX Runtime may be what is broken
        return [Check("GPU", "error", one_line(error), REINSTALL)]


def _package() -> Check:
    folder = Path(__file__).parents[1]
    found = _installed(("pcr-rt",))
    if not found:
        return Check(
            "PCR-RT", "warning", f"runs from {folder} without being installed", "pip install ."
        )
    return Check("PCR-RT", "ok", f"{found['pcr-rt']} in {folder}")


def _library(name: str, module: str, distribution: str, inspect: Callable[[Any], Check]) -> Check:
    """What ``inspect`` finds in a module that PCR-RT cannot do without."""
    try:
        return inspect(importlib.import_module(module))
    except Exception as error:  # a damaged installation raises anything, and that is the finding
        if module == "cv2" and re.search(NUMPY_ABI, str(error)):
            return Check(
                name,
                "error",
                f"this OpenCV was built for NumPy 1: {one_line(error)}",
                'pip install "numpy<2", which keeps JetPack\'s OpenCV with GStreamer',
            )
        return Check(
            name,
            "error",
            f"cannot be used: {one_line(error)}",
            f"pip install --force-reinstall {distribution}",
        )


def _opencv(cv2: Any) -> Check:
    information = cv2.getBuildInformation()
    video = [
        label
        for label, key in (("FFMPEG", "ffmpeg"), ("GStreamer", "gstreamer"), ("V4L", "v4l/v4l2"))
        if re.search(rf"^\s*{key}:\s+YES", information, re.IGNORECASE | re.MULTILINE)
    ]
    found = _installed(OPENCV_DISTRIBUTIONS)
    origin = ", ".join(f"{name} {version}" for name, version in found.items())
    detail = (
        f"{cv2.__version__} ({origin or 'not from a wheel'}); video: {', '.join(video) or 'none'}"
    )
    if len(found) > 1:
        return Check(
            "OpenCV",
            "warning",
            f"{detail}; several distributions write over each other's files",
            f"pip uninstall -y {' '.join(found)}, then install the one you want",
        )
    return Check("OpenCV", "ok", detail)


def _onnx_runtime(ort: Any) -> Check:
    name = "ONNX Runtime"
    providers = ort.get_available_providers()
    shown = ", ".join(provider.removesuffix("ExecutionProvider") for provider in providers)
    found = _installed(ONNX_RUNTIME_DISTRIBUTIONS)
    if len(found) > 1:
        return Check(
            name,
            "error",
            "onnxruntime and onnxruntime-gpu are both installed and write over each other's files",
            "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you want",
        )
    origin = ", ".join(found) or "not from a wheel"
    detail = f"{ort.__version__} ({origin}); providers: {shown}"
    if "CUDAExecutionProvider" in providers:
        # The provider is listed wherever it was compiled in; only a session shows whether the
        # CUDA libraries load, since ONNX Runtime falls back to the CPU without an error.
        problem = _cuda_problem()
        if problem:
            return Check(
                name,
                "warning",
                f"{detail}; runs on the CPU all the same: {problem}",
                "install the CUDA and cuDNN versions that this ONNX Runtime was built for",
            )
    elif "onnxruntime-gpu" in found:
        return Check(
            name,
            "warning",
            f"{detail}; onnxruntime-gpu without its CUDA provider runs on the CPU",
            "pip install --force-reinstall onnxruntime-gpu",
        )
    return Check(name, "ok", detail)


def _cuda_problem() -> str:
    from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine

    try:
        OnnxRuntimeEngine("rtmdet-nano", device="cuda").close()
    except PoseError as error:
        return one_line(error)
    return ""


def _pyav(av: Any) -> Check:
    encoder = next((name for name in H264_ENCODERS if name in av.codecs_available), None)
    if encoder is None:
        return Check(
            "PyAV",
            "warning",
            f"{av.__version__}, without an H.264 encoder: videos are written as MPEG-4, which"
            " browsers do not play",
            "pip install --force-reinstall --only-binary av av",
        )
    return Check("PyAV", "ok", f"{av.__version__}, H.264 encoder {encoder}")


def check_model(
    name: str, skeleton: Skeleton | None = None, spec: ModelSpec | None = None
) -> Check:
    """Load a shipped model or an .onnx file, and tell what its spec says.

    skeleton, spec: how to read a file of others.
    """
    title = f"model {name}"
    try:
        from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine

        engine = OnnxRuntimeEngine(name, device="cpu", skeleton=skeleton, spec=spec)
    except Exception as error:  # ONNX Runtime may be what is broken
        shipped = name in DEFAULT_MODELS | set(shipped_models())
        return Check(title, "error", one_line(error), REINSTALL if shipped else "")
    spec = engine.spec
    engine.close()
    width, height = spec.input_size
    detail = f"{spec.kind}, input {width}x{height}, {spec.precision}"
    if spec.is_detector:
        return Check(title, "ok", detail)
    detail += f", {len(spec.skeleton)} keypoints of {spec.skeleton.name}"
    if spec.calibration is None:
        remedy = (
            f"'pcr-rt calibrate {name} ANNOTATIONS IMAGES --output FILE' makes them probabilities"
        )
        return Check(title, "ok", f"{detail}, scores are raw", remedy)
    return Check(title, "ok", f"{detail}, scores are probabilities")


def _processor() -> Check:
    found = processor()
    if found.features is None:
        instructions = "nothing tells its instructions"
    else:
        instructions = ", ".join(found.features) or "no vector instructions that count"
    return Check(
        "Processor",
        "ok",
        f"{found.name}, {usable_cores()} of {os.cpu_count() or 1} cores usable; {instructions}",
    )


def _int8() -> Check:
    """Whether the processor is made for INT8, and what that is worth."""
    names = " and ".join(processor().int8_features)
    fast = f"{names} there" if names else "no VNNI or dot-product instructions"
    try:
        from pcr_rt.benchmark.int8 import int8_cost

        ratio = int8_cost()
    except Exception as error:  # ONNX Runtime or a model may be what is broken
        return Check("INT8", "warning", f"{fast}; not measured: {one_line(error)}")
    figures = "{p50:.2f} ({p25:.2f} to {p75:.2f})".format(**ratio)
    worth = (
        "precision 'int8' saves time and loses some accuracy (docs/reference/precision.md)"
        if ratio["p75"] < INT8_PAYS
        else "FP32, the default, is as fast and loses nothing"
    )
    return Check("INT8", "ok", f"{fast}; pcr-tiny takes {figures} of FP32's time: {worth}")


def _optional(
    name: str, module: str, distributions: tuple[str, ...], purpose: str, remedy: str
) -> Check:
    if not find_module(module):
        return Check(name, "missing", f"not installed, needed only for {purpose}", remedy)
    versions = list(_installed(distributions).values())
    return Check(name, "ok", versions[0] if versions else "installed, version unknown")
