"""Every name of TensorRT's API that our source uses exists in the versions it is used with."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from pcr_rt import engines
from tensorrt_standin import NAMES_FILE, VERSIONS, names_of

SOURCES = sorted((Path(engines.__file__).parent / "tensorrt").glob("*.py"))

CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "layer": "ILayer",
    "tensor": "ITensor",
    "parser": "OnnxParser",
    "first": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "timing": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "inspector": "EngineInspector",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
    "_runtime_cache": "IRuntimeCache",
    "known": "ComputeCapability",
    "strategy": "CudaGraphStrategy",
    "strategies": "ExecutionContextAllocationStrategy",
}
"""What our source calls TensorRT's objects."""

WEAK = ["8.6.1"]
TEN = [v for v in VERSIONS if v.startswith("10.")]
TYPED = [*TEN, "11.4.0.106", "rtx-1.7.1"]
RTX = ["rtx-1.7.1"]
GUARDED = {
    # Behind a question for the version or for the name itself; the stand-ins run both ways.
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": WEAK,
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": TYPED,
    "PreviewFeature.PROFILE_SHARING_0806": WEAK,
    "BuilderFlag.FP16": WEAK,
    "BuilderFlag.INT8": WEAK,
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": WEAK,
    "ILayer.precision": WEAK,
    "ParserError.node_name": TYPED,
    "IProgressMonitor": TYPED,
    "IBuilderConfig.progress_monitor": TYPED,
    "ICudaEngine.device_memory_size": [*WEAK, "10.0.1"],
    "ICudaEngine.create_execution_context_without_device_memory": WEAK,
    "IExecutionContext.device_memory": [*WEAK, "10.0.1"],
    "IExecutionContext.set_device_memory": [*TEN[1:], "11.4.0.106", "rtx-1.7.1"],
    "IExecutionContext.update_device_memory_size_for_shapes": TYPED,
    "ExecutionContextAllocationStrategy": TYPED,
    "ExecutionContextAllocationStrategy.USER_MANAGED": TYPED,
    "ICudaEngine.device_memory_size_v2": [*TEN[1:], "11.4.0.106", "rtx-1.7.1"],
    "ComputeCapability": RTX,
    "IBuilderConfig.num_compute_capabilities": RTX,
    "IBuilderConfig.set_compute_capability": RTX,
    "ICudaEngine.create_runtime_config": RTX,
    "IRuntimeConfig.cuda_graph_strategy": RTX,
    "IRuntimeConfig.create_runtime_cache": RTX,
    "IRuntimeConfig.set_runtime_cache": RTX,
    "IRuntimeCache.deserialize": RTX,
    "IRuntimeCache.serialize": RTX,
    "CudaGraphStrategy": RTX,
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE": RTX,
}


def chain(node: ast.AST) -> list[str]:
    """The words of ``a.b.c``; empty for other expressions."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return [*words, node.id][::-1] if isinstance(node, ast.Name) else words[::-1]


def used_names() -> set[str]:
    """Names of TensorRT's API in our source, as ``Class`` or ``Class.member``."""
    found = set()
    for source in SOURCES:
        # Calls of PyCUDA and CuPy have a context and a runtime, too.
        if source.stem == "host_io":
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            words = chain(node)
            for i, word in enumerate(words[:-1]):
                follows = words[i + 1]
                if word in ("trt", "module") and follows not in ("module", "__version__"):
                    found.add(".".join(words[i + 1 : i + 3]))
                elif word == "names" and follows.isupper():
                    found.add(f"NetworkDefinitionCreationFlag.{follows}")
                elif word in CLASSES and not follows.startswith("_"):
                    found.add(f"{CLASSES[word]}.{follows}")
    return found


def test_the_search_finds_what_is_there() -> None:
    used = used_names()
    for name in (
        "Builder.build_serialized_network",
        "IExecutionContext.execute_async_v3",
        "BuilderFlag.FP16",
        "ILogger",
        "ICudaEngine.get_tensor_profile_shape",
        "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    ):
        assert name in used
    assert len(used) > 50


@pytest.mark.parametrize("version", VERSIONS)
def test_names_exist_in_the_version(version: str) -> None:
    known = names_of(version)
    wanted = {name for name in used_names() if version in GUARDED.get(name, VERSIONS)}
    members = {n for n in wanted if n.split(".")[-1] not in ("name", "value")}
    assert sorted(members - known) == []


def test_no_guard_without_a_use() -> None:
    assert sorted(set(GUARDED) - used_names()) == []


@pytest.mark.shared
def test_the_list_of_names_is_that_of_the_modules(shared: Path) -> None:
    for version in VERSIONS:
        lines = (shared / "reference" / "tensorrt_api" / f"{version}.txt").read_text().splitlines()
        there = {line.strip() for line in lines}
        assert names_of(version) <= there
    assert NAMES_FILE.stat().st_size < 40_000
