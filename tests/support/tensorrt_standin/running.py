"""A plan at work: runtime, engine, inspector and execution context."""

from __future__ import annotations

import ctypes
import json
import pickle
import weakref
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import emulated_cupy
from tensorrt_standin.version import TYPES, HostMemory, Version, fail, shape_of

DTYPES = {"FLOAT": np.float32, "HALF": np.float16}


def running(version: Version) -> type:
    """Make the class ``Runtime`` of a version, through which the others come."""
    module, behaviour = version.module, version.behaviour
    Versioned: Any = version.base

    class EngineInspector(Versioned):
        """Without a context that has a shape, only a layer of constants has a type."""

        def __init__(self, types: list[str]) -> None:
            self._types = behaviour.types or types

        def get_engine_information(self, format: Any) -> str:
            assert format == module.LayerInformationFormat.JSON
            words = {"FLOAT": "Row major linear FP32", "HALF": "Channel major FP16 format"}
            key = "Format/Datatype"
            if version.number.startswith("11"):
                words, key = {"FLOAT": "Float", "HALF": "Half"}, "DataType"
            context = self.__dict__.get("execution_context")
            types = [words.get(t, t) for t in self._types]
            if context is None or not context._shape_:
                types = ["N/A due to dynamic shapes"] * len(types) + [words["FLOAT"]]
            inputs = [[{"Name": "x", key: one}] for one in types]
            return json.dumps({"Layers": [{"Name": "l", "Inputs": one} for one in inputs]})

    class Runtime(Versioned):
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, content: bytes) -> Any:
            try:
                plan = pickle.loads(content[5:])
            except Exception:
                return fail(self._logger, "Serialization assertion magicTagRead failed.")
            if plan["version"] != version.number:
                return fail(
                    self._logger, "The engine plan file is not compatible with this version"
                )
            return ICudaEngine(plan, self._logger)

    class IRuntimeCache(Versioned):
        def serialize(self) -> Any:
            return HostMemory(b"kernels")

        def deserialize(self, content: bytes) -> bool:
            behaviour.kernels = bytes(content)
            return True

    class IRuntimeConfig(Versioned):
        def create_runtime_cache(self) -> Any:
            return IRuntimeCache()

        def set_runtime_cache(self, cache: Any) -> bool:
            self._cache = cache
            return True

    class ICudaEngine(Versioned):
        def __init__(self, plan: dict[str, Any], logger: Any) -> None:
            self._plan, self._logger = plan, logger
            graph = onnx.load_model_from_string(plan["onnx"]).graph
            self._inputs = {v.name: v for v in graph.input}
            self._values = [*graph.input, *graph.output]
            self._session = ort.InferenceSession(plan["onnx"], providers=["CPUExecutionProvider"])
            self._contexts: weakref.WeakSet[Any] = weakref.WeakSet()
            self.num_io_tensors = len(self._values)
            self.num_optimization_profiles = max(len(plan["profiles"]), 1)
            if f"{type(self).__name__}.device_memory_size_v2" in version.names:
                self.device_memory_size_v2 = self._most_memory()
            else:
                self.device_memory_size = self._most_memory()

        def _most_memory(self) -> int:
            """What the largest shape of all profiles needs: 64 KiB an image."""
            entry = self.get_tensor_name(0)
            ranges = [self.get_tensor_profile_shape(entry, i) for i in range(len(self._profiles()))]
            return max(high[0] for _, _, high in ranges) << 16

        def _profiles(self) -> list[Any]:
            return self._plan["profiles"] or [None]

        def _value(self, name: str) -> Any:
            return next(v for v in self._values if v.name == name)

        def get_tensor_name(self, i: int) -> str:
            return str(self._values[i].name)

        def get_tensor_mode(self, name: str) -> Any:
            mode = "INPUT" if name in self._inputs else "OUTPUT"
            return module.TensorIOMode[mode]

        def get_tensor_dtype(self, name: str) -> Any:
            return module.DataType[TYPES[self._value(name).type.tensor_type.elem_type]]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return shape_of(self._value(name))

        def get_tensor_profile_shape(self, name: str, i: int) -> list[tuple[int, ...]]:
            profiles = self._plan["profiles"]
            return list(profiles[i][1:]) if profiles else [self.get_tensor_shape(name)] * 3

        def create_engine_inspector(self) -> Any:
            return EngineInspector(self._plan["types"])

        def create_runtime_config(self) -> Any:
            return IRuntimeConfig()

        def create_execution_context(self, how: Any = None) -> Any:
            behaviour.contexts += 1
            if version.is_rtx:
                assert isinstance(how, IRuntimeConfig)
                return IExecutionContext(self, has_memory=True)
            managed = how is not None and how.name == "USER_MANAGED"
            return IExecutionContext(self, has_memory=not managed)

        def create_execution_context_without_device_memory(self) -> Any:
            behaviour.contexts += 1
            return IExecutionContext(self, has_memory=False)

    class IExecutionContext(Versioned):
        def __init__(self, engine: Any, *, has_memory: bool) -> None:
            self._engine, self._memory = engine, engine._most_memory() if has_memory else 0
            # 8.6 gives profile 0 by itself only to a context that nobody else shares it with.
            held = {context._profile for context in engine._contexts}
            self._profile = -1 if version.is_weak and 0 in held else 0
            engine._contexts.add(self)
            self._queued: int | None = None
            self._addresses: dict[str, int] = {}
            self._shape_: tuple[int, ...] = ()
            if len(engine._plan["profiles"]) == 0:
                self._shape_ = engine.get_tensor_shape(engine.get_tensor_name(0))

        def set_optimization_profile_async(self, i: int, stream: int) -> bool:
            engine = self._engine
            others = {c._profile for c in engine._contexts if c is not self}
            if i in others and not engine._plan["shares"]:
                fail(engine._logger, f"Profile {i} has been chosen for another IExecutionContext")
                return False
            self._profile = i
            return 0 <= i < engine.num_optimization_profiles

        def set_input_shape(self, name: str, shape: Any) -> bool:
            engine = self._engine
            if self._profile < 0:
                fail(engine._logger, "No optimization profile has been chosen for this context")
                return False
            low, _, high = engine.get_tensor_profile_shape(name, self._profile)
            inside = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
            if not inside:
                fail(engine._logger, "Static dimension mismatch while setting input shape")
                return False
            self._shape_ = tuple(shape)
            return True

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if not self._shape_:
                return self._engine.get_tensor_shape(name)
            images = np.zeros(self._shape_, DTYPES[self._dtype(self._entry())])
            return tuple(self._engine._session.run([name], {self._entry(): images})[0].shape)

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return isinstance(memory, int) and memory % 4 == 0

        def execute_async_v3(self, stream_handle: int) -> bool:
            if not self._shape_ or len(self._addresses) < self._engine.num_io_tensors:
                fail(self._engine._logger, "Not all tensors have an address and a shape")
                return False
            if self._memory < self._needed():
                fail(self._engine._logger, "The device memory of the context is too small")
                return False
            self._queued = len(emulated_cupy.synchronisations)
            emulated_cupy.submit(self._run)
            return True

        def update_device_memory_size_for_shapes(self) -> int:
            return self._shape_[0] << 16 if self._shape_ else 0

        def set_device_memory(self, memory: int, size: int) -> None:
            assert size >= self._needed()
            self._memory = size

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "device_memory":  # 8.6 and 10.0 are not told its size
                self._memory = self._engine._most_memory()
            super().__setattr__(name, value)

        def _needed(self) -> int:
            """8.6 lays out the memory for the largest shape, later versions for this one."""
            return self._engine._most_memory() if version.is_weak else self._shape_[0] << 16

        def __del__(self) -> None:
            if self._queued == len(emulated_cupy.synchronisations):
                behaviour.freed_at_work += 1

        def _entry(self) -> str:
            return str(self._engine.get_tensor_name(0))

        def _dtype(self, name: str) -> str:
            return str(self._engine.get_tensor_dtype(name).name)

        def _run(self) -> None:
            entry = self._entry()
            images = np.empty(self._shape_, DTYPES[self._dtype(entry)])
            ctypes.memmove(images.ctypes.data, self._addresses[entry], images.nbytes)
            session = self._engine._session
            results = session.run(None, {entry: images})
            for value, result in zip(session.get_outputs(), results, strict=True):
                array = np.ascontiguousarray(behaviour.distort(result))
                ctypes.memmove(self._addresses[value.name], array.ctypes.data, array.nbytes)

    return Runtime
