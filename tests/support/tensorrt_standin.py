"""The contract of TensorRT's Python API, version by version, with ONNX Runtime inside.

Names that a version does not have raise AttributeError; calls out of order fail as TensorRT's do:
they log an error and return None, False or -1. Memory is the emulated device's.
"""

from __future__ import annotations

import ctypes
import json
import pickle
import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, shape_inference

import emulated_cupy

NAMES_FILE = Path(__file__).with_name("tensorrt_names.txt")
VERSIONS = ["8.6.1", "10.0.1", "10.3.0", "10.7.0", "10.13.3.9", "10.16.1.11", "11.4.0.106"]
VERSIONS += ["rtx-1.7.1"]
ENUMERATIONS = (
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "LayerType",
    "MemoryPoolType",
    "PreviewFeature",
    "ProfilingVerbosity",
    "ComputeCapability",
    "LayerInformationFormat",
    "TensorIOMode",
    "DataType",
    "CudaGraphStrategy",
)
TYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT64: "INT64",
}
DTYPES = {"FLOAT": np.float32, "HALF": np.float16}
KINDS = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "MatMul": "MATRIX_MULTIPLY",
    "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
}


def names_of(version: str) -> set[str]:
    """Names that a version of the API has, as ``Class.member``."""
    found = set()
    for line in NAMES_FILE.read_text().splitlines():
        name, *versions = line.split()
        if name != "#" and (versions == ["*"] or version in versions):
            found.add(name)
    return found


class HostMemory(bytes):
    """What TensorRT's IHostMemory is to ``bytes``."""


class Checked:
    """Has the attributes that its class has in this version, and private ones."""

    _names: set[str]

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._check(name)
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._check(name)
        super().__setattr__(name, value)

    def _check(self, name: str) -> None:
        known = object.__getattribute__(self, "_names")
        kind = type(self).__name__
        if f"{kind}.{name}" not in known:
            raise AttributeError(f"{kind} has no attribute {name!r} in this version")


class Module(ModuleType):
    """A stand-in module; attributes that the version does not have raise AttributeError."""


def install(monkeypatch: Any, version: str) -> Any:
    """Make ``import tensorrt`` (or ``tensorrt_rtx``) give the stand-in; the other is not there.

    The emulated CuPy becomes ``cupy`` with one GPU. Returns the module, whose ``behaviour`` is
    what tests may change.
    """
    is_rtx = version.startswith("rtx")
    module = make(version)
    monkeypatch.setitem(sys.modules, "tensorrt", None if is_rtx else module)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module if is_rtx else None)
    monkeypatch.setitem(sys.modules, "cupy", emulated_cupy)
    gpu = {"name": b"Orin", "major": 8, "minor": 7, "multiProcessorCount": 16}
    gpu["totalGlobalMem"] = 8 << 30
    runtime = emulated_cupy.cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceCount", lambda: 1)
    monkeypatch.setattr(runtime, "getDeviceProperties", lambda i: dict(gpu), raising=False)
    module.behaviour.gpu = gpu
    return module


def make(version: str) -> Any:
    """The module of a version."""
    names = names_of(version)
    is_rtx, is_weak = version.startswith("rtx"), version.startswith("8.")
    number = version.removeprefix("rtx-")
    module: Any = Module("tensorrt_rtx" if is_rtx else "tensorrt")
    module.__version__ = number
    behaviour = SimpleNamespace(builds=0, distort=np.copy, types=None, contexts=0, has_driver=True)
    module.behaviour = behaviour

    for kind in ENUMERATIONS:
        if kind in names:
            members = [n.partition(".")[2] for n in names if n.startswith(f"{kind}.")]
            members = sorted(m for m in members if m not in ("name", "value"))
            setattr(module, kind, IntEnum(kind, members, start=0))

    class ILogger:
        Severity = IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)

        def __init__(self) -> None:
            self._ready = True

    class Versioned(Checked):
        _names = names

    def fail(logger: Any, message: str) -> None:
        logger.log(ILogger.Severity.ERROR, message)

    class ITensor(Versioned):
        def __init__(self, name: str, dtype: str, shape: tuple[int, ...]) -> None:
            if dtype not in module.DataType.__members__:
                dtype = dtype.replace("64", "32")  # 8.6's parser narrows whole numbers
            self.name, self.dtype, self.shape = name, module.DataType[dtype], shape

    class ILayer(Versioned):
        def __init__(self, node: Any, kind: str, tensors: dict[str, ITensor]) -> None:
            self._inputs = [tensors.get(n) for n in node.input if n]
            self._outputs = [tensors.get(n) for n in node.output]
            self.name, self.type = node.name, module.LayerType[kind]
            self.num_inputs, self.num_outputs = len(self._inputs), len(self._outputs)

        def get_input(self, i: int) -> Any:
            return self._inputs[i]

        def get_output(self, i: int) -> Any:
            return self._outputs[i]

    class INetworkDefinition(Versioned):
        def __init__(self, flags: int) -> None:
            self._flags, self._layers, self._in, self._out = flags, [], [], []
            self._bytes = b""
            self._count()

        def _count(self) -> None:
            self.num_layers, self.num_inputs = len(self._layers), len(self._in)
            self.num_outputs = len(self._out)

        def get_layer(self, i: int) -> Any:
            return self._layers[i]

        def get_input(self, i: int) -> Any:
            return self._in[i]

        def get_output(self, i: int) -> Any:
            return self._out[i]

    class ParserError(Versioned):
        def __init__(self, text: str, node: str = "") -> None:
            self._text, self._node = text, node

        def desc(self) -> str:
            return self._text

        def node_name(self) -> str:
            return self._node

    class OnnxParser(Versioned):
        def __init__(self, network: Any, logger: Any) -> None:
            assert logger._ready
            self._network, self._errors = network, []
            self.num_errors = 0

        def _refuse(self, *words: str) -> bool:
            self._errors.append(ParserError(*words))
            self.num_errors = len(self._errors)
            return False

        def get_error(self, i: int) -> Any:
            return self._errors[i]

        def parse(self, content: bytes) -> bool:
            network = self._network
            if is_weak and not network._flags & 1 << module.NetworkDefinitionCreationFlag(0):
                return self._refuse("This version of the ONNX parser only supports explicit batch.")
            try:
                model = onnx.load_model_from_string(content)
            except Exception:
                return self._refuse("Failed to parse the ONNX model.")
            if is_weak and any(o.version > 17 for o in model.opset_import if not o.domain):
                return self._refuse("No importer registered for op of this opset.")
            for node in model.graph.node:
                if node.domain:
                    return self._refuse("Plugin not found.", node.name)
            if not model.graph.output:
                return True
            model = shape_inference.infer_shapes(model)
            graph = model.graph
            tensors = {
                v.name: ITensor(v.name, TYPES[v.type.tensor_type.elem_type], _shape(v))
                for v in (*graph.input, *graph.value_info, *graph.output)
                if v.type.tensor_type.elem_type in TYPES
            }
            for w in graph.initializer:
                if w.data_type in TYPES:
                    tensors[w.name] = ITensor(w.name, TYPES[w.data_type], tuple(w.dims))
            network._layers = [
                ILayer(n, KINDS.get(n.op_type, "ELEMENTWISE"), tensors) for n in graph.node
            ]
            network._in = [tensors[v.name] for v in graph.input]
            network._out = [tensors[v.name] for v in graph.output]
            network._bytes = content
            network._count()
            return True

    class IOptimizationProfile(Versioned):
        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            self._range = input, tuple(min), tuple(opt), tuple(max)

    class ITimingCache(Versioned):
        def serialize(self) -> Any:
            return HostMemory(b"timings")

    class IBuilderConfig(Versioned):
        def __init__(self) -> None:
            self._profiles: list[Any] = []
            self._flags: set[Any] = set()
            self._previews: set[Any] = set()
            self._targets: dict[int, Any] = {}
            self._timing = self._monitor_ = None

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            assert isinstance(pool, module.MemoryPoolType)
            assert pool_size > 0

        def set_flag(self, flag: Any) -> None:
            self._flags.add(module.BuilderFlag(flag))

        def set_preview_feature(self, feature: Any, enable: bool) -> None:
            self._previews.add(module.PreviewFeature(feature))

        def set_compute_capability(self, capability: Any, index: int) -> None:
            assert index < self.num_compute_capabilities
            self._targets[index] = capability

        def add_optimization_profile(self, profile: Any) -> int:
            _, low, usual, high = profile._range
            if not all(a <= b <= c for a, b, c in zip(low, usual, high, strict=True)):
                return -1
            self._profiles.append(profile._range)
            return len(self._profiles) - 1

        def create_timing_cache(self, content: bytes) -> Any:
            assert content in (b"", b"timings")
            return ITimingCache()

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            assert isinstance(cache, ITimingCache)
            return True

    class Builder(Versioned):
        def __init__(self, logger: Any) -> None:
            assert logger._ready
            if not behaviour.has_driver:
                fail(logger, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def create_network(self, flags: int) -> Any:
            return INetworkDefinition(flags)

        def create_builder_config(self) -> Any:
            return IBuilderConfig()

        def create_optimization_profile(self) -> Any:
            return IOptimizationProfile()

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            behaviour.builds += 1
            monitor = config.__dict__.get("progress_monitor")
            if monitor is not None:
                monitor.phase_start("Building engine", None, 2)
                for step in range(2):
                    if not monitor.step_complete("Building engine", step):
                        return fail(self._logger, "Cancelled by the progress monitor")
                monitor.phase_finish("Building engine")
            self._logger.log(ILogger.Severity.INFO, "Local timing cache in use.")
            (entry,) = network._in
            if -1 in entry.shape and not config._profiles:
                return fail(self._logger, "no optimization profile has been defined")
            for name, *shapes in config._profiles:
                for shape in shapes:
                    fits = all(a in (-1, b) for a, b in zip(entry.shape, shape, strict=True))
                    if name != entry.name or not fits:
                        return fail(self._logger, "Dimension mismatch for tensor and profile")
            if config.__dict__.get("profiling_verbosity") != module.ProfilingVerbosity.DETAILED:
                types = []
            else:
                types = [_computes(layer, config) for layer in network._layers]
            return HostMemory(
                b"plan:"
                + pickle.dumps(
                    {
                        "version": version,
                        "onnx": network._bytes,
                        "profiles": config._profiles,
                        "types": types,
                        "shares": not is_weak or bool(config._previews),
                    }
                )
            )

    def _computes(layer: Any, config: Any) -> str:
        """In which type a layer runs: what flags allow in 8.6, what the file says later."""
        own = layer._inputs[0].dtype.name if layer._inputs else "FLOAT"
        if not is_weak:
            return own
        allowed = {flag.name for flag in config._flags}
        held = "OBEY_PRECISION_CONSTRAINTS" in allowed and "precision" in layer.__dict__
        return "HALF" if "FP16" in allowed and not held else "FLOAT"

    class EngineInspector(Versioned):
        def __init__(self, types: list[str]) -> None:
            self._types = behaviour.types or types

        def get_engine_information(self, format: Any) -> str:
            assert format == module.LayerInformationFormat.JSON
            words = {"FLOAT": "Row major linear FP32", "HALF": "Channel major FP16 format"}
            key = "Format/Datatype"
            if number.startswith("11"):
                words, key = {"FLOAT": "Float", "HALF": "Half"}, "DataType"
            inputs = [[{"Name": "x", key: words.get(t, t)}] for t in self._types]
            return json.dumps({"Layers": [{"Name": "l", "Inputs": one} for one in inputs]})

    class Runtime(Versioned):
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, content: bytes) -> Any:
            try:
                plan = pickle.loads(content[5:])
            except Exception:
                return fail(self._logger, "Serialization assertion magicTagRead failed.")
            if plan["version"] != version:
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
            self._users: set[int] = set()
            self.num_io_tensors = len(self._values)
            self.num_optimization_profiles = max(len(plan["profiles"]), 1)
            if f"{type(self).__name__}.device_memory_size_v2" in names:
                self.device_memory_size_v2 = 1 << 20
            else:
                self.device_memory_size = 1 << 20

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
            return _shape(self._value(name))

        def get_tensor_profile_shape(self, name: str, i: int) -> list[tuple[int, ...]]:
            profiles = self._plan["profiles"]
            return list(profiles[i][1:]) if profiles else [self.get_tensor_shape(name)] * 3

        def create_engine_inspector(self) -> Any:
            return EngineInspector(self._plan["types"])

        def create_runtime_config(self) -> Any:
            return IRuntimeConfig()

        def create_execution_context(self, config: Any = None) -> Any:
            assert (config is not None) == is_rtx
            behaviour.contexts += 1
            return IExecutionContext(self)

    class IExecutionContext(Versioned):
        def __init__(self, engine: Any) -> None:
            self._engine, self._profile = engine, 0
            self._addresses: dict[str, int] = {}
            self._shape_: tuple[int, ...] = ()
            if len(engine._plan["profiles"]) == 0:
                self._shape_ = engine.get_tensor_shape(engine.get_tensor_name(0))

        def set_optimization_profile_async(self, i: int, stream: int) -> bool:
            self._profile = i
            return 0 <= i < self._engine.num_optimization_profiles

        def set_input_shape(self, name: str, shape: Any) -> bool:
            engine = self._engine
            low, _, high = engine.get_tensor_profile_shape(name, self._profile)
            inside = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
            if not inside:
                fail(engine._logger, "Static dimension mismatch while setting input shape")
                return False
            if not engine._plan["shares"] and engine._users - {id(self)}:
                fail(engine._logger, "Profile 0 has been chosen for another IExecutionContext")
                return False
            engine._users.add(id(self))
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
            emulated_cupy.submit(self._run)
            return True

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

    for thing in (ILogger, OnnxParser, Builder, Runtime):
        setattr(module, thing.__name__, thing)
    if "IProgressMonitor" in names:
        module.IProgressMonitor = type("IProgressMonitor", (), {})
    return module


def _shape(value: Any) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
