"""ONNX Runtime: the engine that runs everywhere."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pcr_rt.engines.cpu import usable_cores
from pcr_rt.engines.gpu import device_number
from pcr_rt.errors import InputError, ModelError
from pcr_rt.models import METADATA_KEY, AnyPrecision, ModelSpec, model_path, recognise
from pcr_rt.skeleton import Skeleton

__all__ = ["OnnxRuntimeEngine", "cuda_options"]

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"

_LEFT_BEHIND: list[Any] = []
"""What a forked process has of its parent: ending it would wait for threads that it lacks."""


class OnnxRuntimeEngine:
    """A model in an ONNX Runtime session.

    model: a shipped name or the path of an .onnx file. spec: overrides what the file says of
    itself. skeleton: of a pose model that says nothing of itself. device: ``cpu``, ``cuda``,
    ``cuda:1`` or ``auto`` (CUDA if ONNX Runtime can use it). precision: which of a shipped model's
    files, or what a file must have. threads: CPU threads of the session, 0 for one a core. Raises
    ModelError if the file is broken, of another precision or its outputs contradict the spec,
    InputError if the device is not there.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        spec: ModelSpec | None = None,
        skeleton: Skeleton | None = None,
        device: str = "auto",
        precision: AnyPrecision = "auto",
        threads: int = 0,
    ) -> None:
        providers, wanted = _providers(device)
        path = model_path(model, precision, gpu=len(providers) > 1)
        self._threads = threads or usable_cores()
        # On CUDA the host only starts kernels, which more threads do no faster.
        session = _session(path, self._threads if providers == [CPU] else 1, providers)
        if len(providers) > 1 and session.get_providers()[0] == CPU:
            if wanted:
                raise InputError(
                    f"device={device!r} was asked for, but ONNX Runtime fell back to the CPU:"
                    " install the CUDA libraries that its onnxruntime-gpu was built for, or use"
                    " device='cpu'."
                )
            # No GPU after all: the file for CPUs, opened as on a CPU.
            path = model_path(model, precision)
            session = _session(path, self._threads, [CPU])
        self._path = path
        self.inputs, self.outputs = session.get_inputs(), session.get_outputs()
        try:
            entry, shapes = _only_input(path, self.inputs), [value.shape for value in self.outputs]
            self._input = entry.name
        except UnicodeDecodeError:
            raise ModelError(
                f"The model file {path} has names that are not UTF-8: it is damaged, copy it again."
            ) from None
        self.spec = (
            spec
            or _embedded_spec(session)
            or recognise(path.stem, entry.shape, shapes, skeleton, _task(session))
        )
        if skeleton is not None and not self.spec.is_detector:
            self.spec = self.spec.with_skeleton(skeleton)
        self.spec.check_outputs(shapes)
        if precision not in ("auto", self.spec.precision):
            raise ModelError(
                f"The model file {path} is {self.spec.precision}, not {precision}: convert it with"
                " 'pcr-rt export --precision', or use precision 'auto'."
            )
        self._check_input(entry.shape)
        self.provider = session.get_providers()[0].removesuffix("ExecutionProvider").lower()
        self._session: ort.InferenceSession | None = session
        # One thread a run, and a pool of as many threads; made when the first large batch comes.
        self._sharing: tuple[ort.InferenceSession, ThreadPoolExecutor] | None = None
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._dtype = np.float16 if "float16" in entry.type else np.float32
        self.open_sides = not any(isinstance(side, int) for side in entry.shape[2:])
        self.fixed_batch = entry.shape[0] if isinstance(entry.shape[0], int) else None
        log.info("%s runs on ONNX Runtime (%s)", self.spec.name, self.provider)

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute all outputs for images (N, 3, H, W), in one call if the model's batch is open."""
        if self._session is None:
            raise InputError(f"The engine of {self.spec.name!r} is closed.")
        if self._process != os.getpid():
            self._start_anew()
        images = np.ascontiguousarray(images, dtype=self._dtype)
        step = self.fixed_batch
        if step is None and self.provider == "cpu" and len(images) >= self._threads > 1:
            return self._run_shared(images)
        if step is None or step == len(images):
            return self._call(self._session, images)
        parts = []
        for start in range(0, len(images), step):
            part = images[start : start + step]
            short = step - len(part)
            if short:
                part = np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)])
            result = self._call(self._session, part)
            parts.append([output[: step - short] for output in result])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _call(self, session: ort.InferenceSession, images: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            outputs: list[NDArray[Any]] = session.run(None, {self._input: images})
        except Exception as error:  # of a file that loads and cannot run, by a dozen classes
            raise ModelError(f"The model file {self._path} cannot run: {_reason(error)}") from None
        return outputs

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._session is None

    def open_session(self, cuda: dict[str, Any]) -> ort.InferenceSession:
        """Open another session of the same file, with options of the CUDA provider."""
        return _session(self._path, 1, [("CUDAExecutionProvider", cuda), CPU])

    def output_shapes(self) -> list[list[Any]]:
        """Return the outputs' shapes at the spec's input size; what stays open is no number.

        The batch is open in most files; sizes that only a run can tell, such as those after a
        detector's own NMS, are too.
        """
        width, height = self.spec.input_size
        sizes = dict(zip(self.inputs[0].shape[2:], (height, width), strict=True))
        fixed = {name: size for name, size in sizes.items() if isinstance(name, str)}
        return [value.shape for value in _session(self._path, 1, [CPU], fixed).get_outputs()]

    def _start_anew(self) -> None:
        """In a forked process: the parent's sessions and pool have no threads here."""
        if self.provider != "cpu":
            raise InputError("A CUDA device cannot be used after a fork: make the engine there.")
        self._leave_behind()
        self._lock = threading.Lock()
        self._session = _session(self._path, self._threads, [CPU])
        self._process = os.getpid()

    def _leave_behind(self) -> None:
        _LEFT_BEHIND.append((self._session, self._sharing, self.inputs, self.outputs))
        self._sharing = None

    def _run_shared(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Each core runs its share of the images alone, which needs no waiting for each other."""
        with self._lock:
            if self._sharing is None:
                self._sharing = (
                    _session(self._path, 1, [CPU]),
                    ThreadPoolExecutor(self._threads, thread_name_prefix="pcr-rt infer"),
                )
        single, pool = self._sharing
        shares = np.array_split(images, self._threads)
        parts = pool.map(lambda share: self._call(single, share), shares)
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def close(self) -> None:
        """Close the sessions and their threads."""
        if self._process != os.getpid():
            self._leave_behind()
        self._session = None
        self.inputs = self.outputs = ()  # they hold the session too
        if self._sharing is not None:
            self._sharing[1].shutdown()
            self._sharing = None

    def _check_input(self, shape: list[Any]) -> None:
        want = (3, self.spec.input_size[1], self.spec.input_size[0])
        fits = len(shape) == 4 and all(
            have == size or not isinstance(have, int)
            for have, size in zip(shape[1:], want, strict=True)
        )
        if not fits:
            raise ModelError(
                f"The input {tuple(shape)} of model {self.spec.name!r} does not take"
                f" {('N', *want)} as its spec says."
            )


def _session(
    path: Path, threads: int, providers: list[Any], sizes: Mapping[str, int] | None = None
) -> ort.InferenceSession:
    """sizes: of open dimensions, by their names."""
    options = ort.SessionOptions()
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Workers that spin after a call take the cores from the other model's call.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = _open(path, options, providers)
    spec = _embedded_spec(session)
    if spec is not None and spec.target == "gpu" and len(providers) == 1:
        # The CPU provider's fused form of a quantised FP16 convolution gives wrong results (seen
        # with 1.32); unfused it computes what the file says.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = _open(path, options, providers)
    return session


def _open(path: Path, options: ort.SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes for a bad file
        if mistaken := _mistaken(path):
            raise ModelError(f"The model file {path} {mistaken}.") from None
        raise ModelError(f"The model file {path} cannot be loaded: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What ONNX Runtime says in one line; why stands at the end, after the names of its files."""
    text = " ".join(str(error).split()).rstrip(".") + "."
    return text if len(text) <= 500 else f"{text[:100]} ... {text[-380:]}"


def _mistaken(path: Path) -> str:
    """What is often downloaded instead of a model; nothing if it is neither of them."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(200).lstrip().lower()
        if head.startswith(b"version https://git-lfs"):
            return "is a pointer of Git LFS: run git lfs pull"
        if head.startswith((b"<!doctype html", b"<html")):
            return "is a web page: download the file itself"
    return ""


def _only_input(path: Path, inputs: list[Any]) -> Any:
    """The one input of a model; ModelError for what no crops can be given to."""
    if len(inputs) != 1:
        names = ", ".join(str(value.name) for value in inputs) or "none"
        raise ModelError(f"The model file {path} has the inputs {names[:200]}: give one with one.")
    entry = inputs[0]
    if entry.type not in ("tensor(float)", "tensor(float16)"):
        raise ModelError(
            f"The model file {path} takes {entry.type}: export it with float32 or float16 input."
        )
    if len(entry.shape) == 4 and entry.shape[3] == 3 and entry.shape[1] != 3:
        raise ModelError(
            f"The model file {path} takes {tuple(entry.shape)}, channels last: export it with"
            " (N, 3, H, W)."
        )
    return entry


def _metadata(session: ort.InferenceSession) -> dict[str, str]:
    try:
        found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise ModelError("The model's metadata is not UTF-8: export it again.") from None
    return found


def _embedded_spec(session: ort.InferenceSession) -> ModelSpec | None:
    text = _metadata(session).get(METADATA_KEY)
    return None if text is None else ModelSpec.from_json(text)


def _task(session: ort.InferenceSession) -> str:
    """What a file of Ultralytics says that it is for."""
    found = _metadata(session)
    return found.get("task", "detect") if found.get("author") == "Ultralytics" else "detect"


def cuda_options(device: int, **more: Any) -> dict[str, Any]:
    """Return options of the CUDA provider for a device.

    cuDNN's search is by its heuristics: the provider's default tries every method at the first run
    of every batch size, which takes seconds each.
    """
    return {"device_id": device, "cudnn_conv_algo_search": "HEURISTIC", **more}


def _providers(device: str) -> tuple[list[Any], bool]:
    """Providers for a session, and whether CUDA must be among them."""
    if device == "cpu":
        return [CPU], False
    number, wanted = device_number(device), device != "auto"
    available = "CUDAExecutionProvider" in ort.get_available_providers()
    if wanted and not available:
        raise InputError(
            f"device={device!r} needs a GPU build of ONNX Runtime, and the installed one has only"
            f" {', '.join(ort.get_available_providers())}: 'pip uninstall -y onnxruntime && pip"
            " install onnxruntime-gpu', or use device='cpu'."
        )
    cuda: list[Any] = [("CUDAExecutionProvider", cuda_options(number))] if available else []
    return [*cuda, CPU], wanted
