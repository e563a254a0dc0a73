"""ONNX Runtime's CUDA provider on arrays that stay on the device, for the estimator's GPU path."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pcr_rt.engines.gpu import cupy
from pcr_rt.engines.onnx_runtime import OnnxRuntimeEngine
from pcr_rt.errors import InputError

__all__ = ["OnnxRuntimeBinding", "OnnxRuntimeCudaEngine"]

DTYPES = {"tensor(float)": np.dtype(np.float32), "tensor(float16)": np.dtype(np.float16)}


class OnnxRuntimeCudaEngine:
    """A `DeviceEngine` of an engine that runs on CUDA, whose host arrays it takes as before.

    device: number of the CUDA device. max_batch: most images of a binding; a model of a fixed batch
    has its own.
    """

    def __init__(self, engine: OnnxRuntimeEngine, device: int, *, max_batch: int = 16) -> None:
        self.host, self.spec, self.device = engine, engine.spec, device
        self.max_batch = engine.fixed_batch or max_batch
        self._lock = threading.Lock()
        # A session works on one stream for life; the bindings of a thread share theirs.
        self._sessions: WeakValueDictionary[int, ort.InferenceSession] = WeakValueDictionary()

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Outputs for host images (N, 3, H, W), which are copied there and back."""
        return self.host.run(images)

    def bind(self, batch: int) -> OnnxRuntimeBinding:
        """Buffers for ``batch`` images, 1 to ``max_batch``."""
        return OnnxRuntimeBinding(self, batch)

    def session(self, stream: int) -> ort.InferenceSession:
        """The session that works on the handle of a stream."""
        if self.host.closed:
            raise InputError(f"The engine of {self.spec.name!r} is closed.")
        with self._lock:
            session = self._sessions.get(stream)
            if session is None:
                session = self.host.open_session(
                    {"device_id": self.device, "user_compute_stream": str(stream)}
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
        blank = np.zeros((size, 3, height, width), np.float32)
        shapes = [output.shape for output in owner.run(blank)]
        self._owner = owner
        self._entry = cp.zeros(blank.shape, DTYPES[host.inputs[0].type])
        self._exits = [
            cp.empty(shape, DTYPES[value.type])
            for shape, value in zip(shapes, host.outputs, strict=True)
        ]
        # The zeros were queued on another stream than the one that will run.
        cp.cuda.get_current_stream().synchronize()
        self.images: Any = self._entry[:batch]
        self.outputs: list[Any] = [array[:batch] for array in self._exits]
        self._bound: tuple[int, ort.InferenceSession, Any] | None = None
        self._options = ort.RunOptions()
        # Else each run would wait for the device.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def enqueue(self, stream: int) -> None:
        """Start the network on the handle of a stream; nothing waits for the device."""
        if self._bound is None or self._bound[0] != stream:
            session = self._owner.session(stream)
            self._bound = stream, session, self._bind(session)
        _, session, io = self._bound
        session.run_with_iobinding(io, self._options)

    def _bind(self, session: ort.InferenceSession) -> Any:
        io, host, device = session.io_binding(), self._owner.host, self._owner.device
        bind = [io.bind_input] + [io.bind_output] * len(self._exits)
        values = (host.inputs[0], *host.outputs)
        for put, value, array in zip(bind, values, (self._entry, *self._exits), strict=True):
            put(value.name, "cuda", device, array.dtype, array.shape, array.data.ptr)
        return io
