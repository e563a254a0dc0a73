"""From an ONNX file to a plan: parser, network, configuration and builder."""

from __future__ import annotations

import pickle
from typing import Any

import onnx
from onnx import shape_inference

from tensorrt_standin.version import TYPES, HostMemory, ILogger, Version, fail, shape_of

KINDS = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "MatMul": "MATRIX_MULTIPLY",
    "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "NonZero": "NON_ZERO",
}


def building(version: Version) -> tuple[type, type]:
    """Make the classes ``OnnxParser`` and ``Builder`` of a version; the others come from them."""
    module, behaviour, is_weak = version.module, version.behaviour, version.is_weak
    Versioned: Any = version.base

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
                v.name: ITensor(v.name, TYPES[v.type.tensor_type.elem_type], shape_of(v))
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
            return ITimingCache() if content in (b"", b"timings") else None

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
            if not behaviour.builds_engines:
                return fail(self._logger, "Could not find any implementation for node Conv_7")
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
                        "version": version.number,
                        "onnx": network._bytes,
                        "profiles": config._profiles,
                        "types": types,
                        "shares": not is_weak or bool(config._previews),
                    }
                )
            )

    def _computes(layer: Any, config: Any) -> str:
        """Tell in which type a layer runs: what flags allow in 8.6, what the file says later."""
        own = layer._inputs[0].dtype.name if layer._inputs else "FLOAT"
        if not is_weak:
            return own
        allowed = {flag.name for flag in config._flags}
        held = "OBEY_PRECISION_CONSTRAINTS" in allowed and "precision" in layer.__dict__
        return "HALF" if "FP16" in allowed and not held else "FLOAT"

    return OnnxParser, Builder
