"""Which way imports point: no circle, and no arrow against the floors of docs/architecture.md."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import pcr_rt

PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"

Graph = dict[str, set[str]]


def read_floors(page: str) -> dict[str, int]:
    """Read each room's floor, counted from the bottom, from the fenced block ``floors``."""
    block = re.search(r"^```floors\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block, "there is no fenced list of floors"
    return {
        room: floor for floor, line in enumerate(block[1].splitlines()) for room in line.split()
    }


def installed_sources() -> dict[str, str]:
    """Read the source of each module of the installed package, by its full name."""
    # An editable installation keeps these two in folders outside of the package.
    found = {}
    for package in ("pcr_rt", "pcr_rt.cuda_kernels", "pcr_rt.export"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        for folder in map(Path, spec.submodule_search_locations):
            for path in folder.rglob("*.py"):
                parts = path.relative_to(folder).with_suffix("").parts
                found[".".join((package, *parts)).removesuffix(".__init__")] = path.read_text()
    return found


def import_graph(sources: Mapping[str, str]) -> Graph:
    """Find what each module imports of the others: in functions and under TYPE_CHECKING too."""
    return {
        name: {home for home in _imported(ast.parse(source), sources) if home != name}
        for name, source in sources.items()
    }


def _imported(tree: ast.AST, sources: Mapping[str, str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in sources)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import: the graph needs the full name"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                if module in sources:
                    yield module
                elif node.module in sources:
                    yield node.module


def room_of(module: str, floors: Mapping[str, int]) -> str:
    """Find the smallest room that holds a module, of the names that the page lists."""
    parts = module.split(".")[1:] or ["__init__"]
    for end in range(len(parts), 0, -1):
        if (room := "/".join(parts[:end])) in floors:
            return room
    raise AssertionError(f"{module} is in no room of docs/architecture.md")


def between_rooms(graph: Graph, floors: Mapping[str, int]) -> Graph:
    rooms: Graph = {room: set() for room in floors}
    for module, others in graph.items():
        room = room_of(module, floors)
        rooms[room] |= {room_of(other, floors) for other in others} - {room}
    return rooms


def upward(rooms: Graph, floors: Mapping[str, int]) -> list[str]:
    return sorted(
        f"{room} -> {other}"
        for room, others in rooms.items()
        for other in others
        if floors[other] > floors[room]
    )


def circle(graph: Graph) -> list[str]:
    """List the nodes of one circle, or none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def graph() -> Graph:
    return import_graph(installed_sources())


@pytest.fixture(scope="module")
def floors() -> dict[str, int]:
    return read_floors(PAGE.read_text(encoding="utf-8"))


def test_no_modules_import_each_other_in_a_circle(graph: Graph) -> None:
    assert circle(graph) == []


def test_no_rooms_import_each_other_in_a_circle(graph: Graph, floors: dict[str, int]) -> None:
    assert circle(between_rooms(graph, floors)) == []


def test_imports_point_down_the_floors(graph: Graph, floors: dict[str, int]) -> None:
    assert upward(between_rooms(graph, floors), floors) == []


def test_the_page_lists_rooms_that_exist(graph: Graph, floors: dict[str, int]) -> None:
    assert {room_of(module, floors) for module in graph} == set(floors)
    assert len(graph) > 120
    assert sum(map(len, graph.values())) > 400
    assert pcr_rt.__name__ in graph


# A small house: (what is changed, the circle between modules, the arrows up).
HOUSE = {
    "pcr_rt": "",
    "pcr_rt.poses": "import numpy",
    "pcr_rt.engines": "",
    "pcr_rt.engines.cpu": "from pcr_rt import poses",
    "pcr_rt.engines.fast.gpu": "from pcr_rt.engines.cpu import Engine",
    "pcr_rt.streaming.reader": "import pcr_rt.engines.fast.gpu as gpu",
}
FLOORS = read_floors("Words.\n```floors\nposes\nengines engines/fast\nstreaming\n__init__\n```\n")
TYPE_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("changed", "in_circle", "arrows_up"),
    [
        ({}, set(), []),
        (
            {"pcr_rt.poses": "from pcr_rt.engines.cpu import run"},
            {"pcr_rt.poses", "pcr_rt.engines.cpu"},
            ["poses -> engines"],
        ),
        (
            {"pcr_rt.engines.cpu": "def run():\n    from pcr_rt.engines.fast import gpu"},
            {"pcr_rt.engines.cpu", "pcr_rt.engines.fast.gpu"},
            [],  # on one floor
        ),
        (
            {"pcr_rt.engines.cpu": TYPE_ONLY + "from pcr_rt.streaming.reader import Reader"},
            {"pcr_rt.engines.cpu", "pcr_rt.engines.fast.gpu", "pcr_rt.streaming.reader"},
            ["engines -> streaming"],
        ),
        ({"pcr_rt.poses": "import pcr_rt"}, set(), ["poses -> __init__"]),
        ({"pcr_rt.poses": "from pcr_rt import PoseStream"}, set(), ["poses -> __init__"]),
    ],
)
def test_a_circle_or_an_arrow_up_would_be_seen(
    changed: dict[str, str], in_circle: set[str], arrows_up: list[str]
) -> None:
    graph = import_graph({**HOUSE, **changed})
    assert set(circle(graph)) == in_circle
    assert upward(between_rooms(graph, FLOORS), FLOORS) == arrows_up


def test_rooms_in_a_circle_would_be_seen() -> None:
    """Their modules need not be in one."""
    changed = {"pcr_rt.engines.other": "from pcr_rt.engines.fast.gpu import run"}
    graph = import_graph({**HOUSE, **changed})
    assert circle(graph) == []
    assert set(circle(between_rooms(graph, FLOORS))) == {"engines", "engines/fast"}


def test_a_module_in_no_room_would_be_seen() -> None:
    with pytest.raises(AssertionError, match="in no room"):
        between_rooms(import_graph({**HOUSE, "pcr_rt.outputs": ""}), FLOORS)
