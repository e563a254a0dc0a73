"""ONNX Runtime as if it had its CUDA provider: its CPU on the memory of the emulated device."""

from __future__ import annotations

from typing import Any

import onnxruntime as ort
import pytest

import emulated_cupy

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
KNOWN = {"device_id", "user_compute_stream", "cudnn_conv_algo_search"}
"""Options of the CUDA provider, which refuses others; those of them that we use."""
runs: list[tuple[str | None, bool]] = []
"""(stream of the session, whether the run waits for the device), one entry a bound run."""
host_runs: list[int] = []
"""The number of images of each run on host arrays, which the provider plans anew for each batch."""


class Binding:
    """The real binding, which takes the emulated device's addresses for the CPU's.

    It refuses a run whose outputs have other shapes than the bound memory, as on a GPU.
    """

    def __init__(self, real: Any, device: int) -> None:
        self.real, self.device = real, device

    def bind_input(self, name: str, kind: str, device: int, *array: Any) -> None:
        assert (kind, device) == ("cuda", self.device)
        self.real.bind_input(name, "cpu", 0, *array)

    def bind_output(self, name: str, kind: str, device: int, *array: Any) -> None:
        assert (kind, device) == ("cuda", self.device)
        self.real.bind_output(name, "cpu", 0, *array)


class RunOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the provider list, sessions and run options until the test ends."""
    real_session = ort.InferenceSession

    class Session:
        def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
            kinds = [p[0] if isinstance(p, tuple) else p for p in providers]
            self.cuda = providers[0][1] if kinds[0] == CUDA else None
            self.kinds = kinds
            if self.cuda is not None:
                assert set(self.cuda) <= KNOWN
                # The default, EXHAUSTIVE, tries every method of every convolution and batch.
                assert self.cuda["cudnn_conv_algo_search"] == "HEURISTIC"
                assert options.intra_op_num_threads == 1
            self.real = real_session(path, options, providers=[CPU])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def run(self, names: Any, feeds: dict[str, Any]) -> Any:
            host_runs.extend(len(array) for array in feeds.values())
            return self.real.run(names, feeds)

        def get_providers(self) -> list[str]:
            return self.kinds

        def io_binding(self) -> Binding:
            assert self.cuda is not None
            return Binding(self.real.io_binding(), int(self.cuda["device_id"]))

        def run_with_iobinding(self, binding: Binding, options: RunOptions) -> None:
            assert self.cuda is not None
            stream = emulated_cupy.cuda.get_current_stream()
            assert self.cuda["user_compute_stream"] == str(stream.ptr) != "0"
            assert stream.recorded is None, "cudaMalloc is not permitted during capture"
            key = "disable_synchronize_execution_providers"
            runs.append((self.cuda["user_compute_stream"], options.entries.get(key) != "1"))
            self.real.run_with_iobinding(binding.real)

    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(ort, "RunOptions", RunOptions)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    runs.clear()
    host_runs.clear()
