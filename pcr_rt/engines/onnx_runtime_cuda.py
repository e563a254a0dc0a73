"""ONNX Runtime's CUDA provider on arrays that stay on the device, for the estimator's GPU path."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pcr_rt.engines.gpu import cupy
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine, cuda_options
from pcr_rt.errors import InputError, ModelError

__all__ = ["OnnxRuntimeBinding", "OnnxRuntimeCudaEngine"]

DTYPES = {"tensor(float)": np.dtype(np.float32), "tensor(float16)": np.dtype(np.float16)}
"""The types that our kernels write and read, by ONNX Runtime's names."""


class OnnxRuntimeCudaEngine:
    """A `DeviceEngine` of an engine that runs on CUDA; it takes host arrays as before.

    device: number of the CUDA device. max_batch: most images of a binding; a model of a fixed batch
    has its own. Raises ModelError for a model whose outputs cannot lie in buffers made beforehand:
    one has a size that only a run can tell, or numbers of another type.
    """

    def __init__(self, engine: OnnxRuntimeEngine, device: int, *, max_batch: int = 16) -> None:
        self.host, self.spec, self.device = engine, engine.spec, device
        self.max_batch = engine.fixed_batch or max_batch
        self.output_shapes = engine.output_shapes()
        self._check_fixed()
        self._lock = threading.Lock()
        # A session works on one stream for life; the bindings of a thread share theirs.
        self._sessions: WeakValueDictionary[int, ort.InferenceSession] = WeakValueDictionary()

    def _check_fixed(self) -> None:
        host = self.host
        for value in (*host.inputs, *host.outputs):
            if value.type not in DTYPES:
                raise ModelError(f"{value.name!r} of {self.spec.name!r} is a {value.type}.")
        for value, (batch, *rest) in zip(host.outputs, self.output_shapes, strict=True):
            if not all(isinstance(n, int) for n in rest) or isinstance(batch, int) != bool(
                host.fixed_batch
            ):
                shape = ", ".join(map(str, (batch, *rest)))
                raise ModelError(
                    f"The output {value.name!r} of {self.spec.name!r} has the shape ({shape}),"
                    " which only a run can tell."
                )

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute outputs for host images (N, 3, H, W), which are copied there and back."""
        return self.host.run(images)

    def bind(self, batch: int) -> OnnxRuntimeBinding:
        """Make buffers for ``batch`` images, 1 to ``max_batch``."""
        return OnnxRuntimeBinding(self, batch)

    def session(self, stream: int) -> ort.InferenceSession:
        """Return the session that works on the handle of a stream; made when first asked for."""
        if self.host.closed:
            raise InputError(f"The engine of {self.spec.name!r} is closed.")
        with self._lock:
            session = self._sessions.get(stream)
            if session is None:
                session = self.host.open_session(
                    cuda_options(self.device, user_compute_stream=str(stream))
                )
                self._sessions[stream] = session
        return session

    def close(self) -> None:
        """Drop the host's session; those of bindings live as long as somebody has them."""
        self.host.close()


class OnnxRuntimeBinding:
    """Images (N, 3, H, W) and outputs (N, ...) as CuPy arrays that stay where they are.

    Not recorded in graphs: the provider takes memory from its arena while it runs.
    """

    capturable = False

    def __init__(self, owner: OnnxRuntimeCudaEngine, batch: int) -> None:
        cp, host = cupy(), owner.host
        width, height = owner.spec.input_size
        size = host.fixed_batch or batch
        self._owner = owner
        shapes = [(size, 3, height, width), *((size, *rest) for _, *rest in owner.output_shapes)]
        self._values = [
            (value.name, cp.zeros(shape, DTYPES[value.type]))
            for shape, value in zip(shapes, (*host.inputs, *host.outputs), strict=True)
        ]
        # The zeros were queued on another stream than the one that will run.
        cp.cuda.get_current_stream().synchronize()
        self.images: Any = self._values[0][1][:batch]
        self.outputs: list[Any] = [array[:batch] for _, array in self._values[1:]]
        self._bound: tuple[int, ort.InferenceSession, Any] | None = None
        self._options = run_options()

    def enqueue(self, stream: int) -> None:
        """Start the network on the handle of a stream; nothing waits for the device."""
        if self._bound is None or self._bound[0] != stream:
            session = self._owner.session(stream)
            places = [(name, a.dtype, a.shape, a.data.ptr) for name, a in self._values]
            self._bound = stream, session, bound(session, "cuda", self._owner.device, places)
        _, session, io = self._bound
        session.run_with_iobinding(io, self._options)


def run_options() -> ort.RunOptions:
    """Return options of a run that does not wait for the device."""
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def bound(
    session: ort.InferenceSession,
    kind: str,
    device: int,
    places: Sequence[tuple[str, np.dtype[Any], tuple[int, ...], int]],
) -> Any:
    """Bind a session's one input and its outputs to memory, where runs read and write it.

    places: name, dtype, shape and address of each, the input's first.
    """
    io = session.io_binding()
    for put, place in zip(
        [io.bind_input, *[io.bind_output] * (len(places) - 1)], places, strict=True
    ):
        name, *memory = place
        put(name, kind, device, *memory)
    return io
