"""Every name and call of CuPy in our source fits the real wheels of CuPy 13 and 14.

The wheels are imported without a GPU. They are downloaded (250 MB), so this runs with ``make
contracts`` alone, which names a folder for them in PCR_RT_WHEELS.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nvrtc_table import unpacked

from pcr_rt import engines, inference
from pcr_rt.cuda_kernels import kernels

WHEELS = ("13.6.0", "14.2.0")
NEEDED = ("fastrlock", "cuda-pathfinder")
"""What the two versions import besides NumPy."""
FOLDERS = [Path(str(package.__file__)).parent for package in (kernels, engines, inference)]
SOURCES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))

CLASSES = {
    "cp": "",
    "stream": "cuda.Stream",
    "_stream": "cuda.Stream",
    "event": "cuda.Event",
    "done": "cuda.Event",
    "graph": "cuda.Graph",
    "_graph": "cuda.Graph",
    "pool": "cuda.MemoryPool",
    "_pool": "cuda.MemoryPool",
}
"""What our source calls CuPy's objects."""
MAKERS = {
    "cuda.get_current_stream": "cuda.Stream",
    "cuda.Device": "cuda.Device",
    "cuda.Event": "cuda.Event",
    "RawModule": "RawModule",
    "get_default_memory_pool": "cuda.MemoryPool",
}
"""What comes out of a call that more is asked of."""
OURS = {"graph.launch", "_graph.launch", "pool.map"}
"""Calls of objects of our own, or of others, under these names."""

Use = tuple[str, int | None, tuple[str, ...]]
"""A name below ``cupy``; if it is called, the positional arguments, and the keywords."""


class Uses(ast.NodeVisitor):
    """Collects the uses of CuPy in one file."""

    def __init__(self) -> None:
        self.found: set[Use] = set()
        self._known: dict[str, str] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outside = dict(self._known)
        self.generic_visit(node)
        self._known = outside | {k: v for k, v in self._known.items() if k.startswith("self.")}

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for one, value in pairs:
                place = self._place(value)
                if place is not None:
                    self._known[ast.unparse(one)] = place
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        place = self._place(node.func)
        words = ast.unparse(node.func).split(".")
        if place and ".".join(words[-2:]) not in OURS:
            plain = not any(isinstance(a, ast.Starred) for a in node.args)
            names = tuple(sorted(k.arg for k in node.keywords if k.arg))
            self.found.add((place, len(node.args) if plain else None, names))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        place = self._place(node)
        if place and place.split(".")[0] not in ("cuda.Stream",) and self._rooted(node):
            self.found.add((place, None, ()))
        self.generic_visit(node)

    def _rooted(self, node: ast.AST) -> bool:
        """Whether the expression begins at the module, not at a variable of some name."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Call) or ast.unparse(node) in self._known

    def _place(self, node: ast.AST) -> str | None:
        """What an expression is below ``cupy``; "" for the module, None for anything else."""
        text = ast.unparse(node)
        if text in self._known:
            return self._known[text]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("cupy", "kernels.cupy"):
                return ""
            if name == "_module":
                return "RawModule"
            return MAKERS.get(self._place(node.func) or "")
        if isinstance(node, ast.Attribute):
            if node.attr in CLASSES and isinstance(node.value, ast.Name):
                return CLASSES[node.attr]
            above = self._place(node.value)
            return None if above is None else f"{above}.{node.attr}".lstrip(".")
        return CLASSES.get(node.id) if isinstance(node, ast.Name) else None


def uses() -> list[Use]:
    found: set[Use] = set()
    for path in SOURCES:
        visitor = Uses()
        visitor.visit(ast.parse(path.read_text()))
        found |= visitor.found
    return sorted(found, key=str)


CHECK = r"""
import inspect, json, re, sys, warnings
warnings.simplefilter("ignore")
import cupy

def signature(thing):
    try:
        return inspect.signature(thing)
    except (TypeError, ValueError):  # Cython's functions have it in the first lines of their text
        pass
    lines = (thing.__doc__ or "").split("\n")[:3]
    lines = [line for line in lines if re.match(r"[\w.]+\(.*\)", line.strip())]
    text = lines[-1].strip() if lines else "f(*args, **kwargs)"
    inner = re.match(r"[\w.]+\((.*)\)", text)[1].replace("\\", "")
    names = []
    for part in inner.split(","):
        name, _, default = part.strip().partition("=")
        name = name.split()[-1] if name.split() else ""
        names.append(f"{name}=None" if default else name)
    space = {}
    exec(f"def f({', '.join(n for n in names if n)}): pass", space)
    return inspect.signature(space["f"])

wrong = []
for place, count, keywords in json.load(sys.stdin):
    thing, owner = cupy, None
    try:
        for word in place.split("."):
            # A stream's handle is an attribute of the instance.
            has = thing.null if thing is cupy.cuda.Stream and word == "ptr" else thing
            owner, thing = thing, getattr(has, word)
    except AttributeError as error:
        wrong.append(f"{place}: {error}")
        continue
    if count is None and not keywords:
        continue
    bound = int(isinstance(owner, type) and not isinstance(thing, type))
    try:
        signature(thing).bind(*[0] * (bound + (count or 0)), **dict.fromkeys(keywords, 0))
    except TypeError as error:
        wrong.append(f"{place}({count}, {keywords}): {error}")
print(json.dumps([cupy.__version__, wrong]))
"""


def test_the_search_finds_what_is_there() -> None:
    found = uses()
    for use in (
        ("cuda.runtime.memcpyAsync", 5, ()),
        ("cuda.Stream", 0, ("non_blocking",)),
        ("cuda.Stream.wait_event", 1, ()),
        ("cuda.driver.ctxSetCurrent", 1, ()),
        ("RawModule", 0, ("code", "options")),
        ("RawModule.compile", 0, ()),
        ("cuda.runtime.memcpyHostToDevice", None, ()),
    ):
        assert use in found
    assert len(found) > 40


@pytest.fixture(scope="module")
def wheels() -> Path:
    folder = os.environ.get("PCR_RT_WHEELS")
    if not folder:
        pytest.skip("CuPy's wheels are looked at by: make contracts")
    return Path(folder)


def answer(wheels: Path, version: str, asked: list[Any]) -> list[Any]:
    places = [unpacked(wheels, f"cupy-cuda12x=={version}", into=version)]
    places.append(unpacked(wheels, *NEEDED, into="needed"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        input=json.dumps(asked),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: list[Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("version", WHEELS)
def test_calls_fit_the_wheel(wheels: Path, version: str) -> None:
    assert answer(wheels, version, uses()) == [version, []]


@pytest.mark.parametrize("version", WHEELS)
def test_calls_that_do_not_fit_are_found(wheels: Path, version: str) -> None:
    wrong: list[Use] = [
        ("cuda.runtime.memcpyAsync", 4, ()),
        ("cuda.Stream", 0, ("blocking",)),
        ("cuda.Stream.wait", 1, ()),
        ("RawModule", 0, ("source",)),
        ("cuda.Graph.launch", 2, ()),
    ]
    assert len(answer(wheels, version, wrong)[1]) == len(wrong)
