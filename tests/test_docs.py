"""The documentation: links lead somewhere, generated pages are whole, the JSON Schema holds."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import jsonschema
import numpy as np
import pytest

from pcr_rt import Poses

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("docs", "pcr_rt/weights", ".")
    for path in (ROOT / folder).glob("*.md" if folder != "docs" else "**/*.md")
)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")


@cache
def headings(page: Path) -> frozenset[str]:
    """Name the headings of a page as GitHub does."""
    lines = re.findall(r"^#+ +(.*?) *$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line) for line in lines)
    return frozenset(re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in plain)


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    return [link for link in _LINK.findall(text) if not re.match(r"[a-z]+:", link)]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "mkdocs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str, site: ModuleType) -> None:
    generated = {(ROOT / "docs" / name).resolve() for name in site.GENERATED}
    for link in links(ROOT / page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if page.startswith("docs/") and target.resolve() in generated:
            continue
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in headings(target), f"{page}: {link}"


def test_paths_of_the_docs_in_the_code_are_there() -> None:
    named = {
        path
        for folder in ("pcr_rt", "cuda_kernels", "export", "benchmarks", "tests", "examples")
        for source in (ROOT / folder).rglob("*.py")
        for path in re.findall(r"docs/[\w/-]+\.(?:md|png|jpg)", source.read_text())
    }
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_sites_menu(site: ModuleType) -> None:
    menu = re.findall(r"[\w./-]+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(menu) == sorted([*pages, *site.GENERATED])


def test_links_of_the_site(site: ModuleType) -> None:
    address = "https://host.org/me/it"

    def turned(link: str, page: str) -> str:
        return site.site_links(f"[x]({link})", page, address)[4:-1]

    assert turned("../decisions.md#why", "how-to/gpu.md") == "../decisions.md#why"
    assert turned("#here", "how-to/gpu.md") == "#here"
    assert turned("https://a.b/c.md", "how-to/gpu.md") == "https://a.b/c.md"
    card = "../../pcr_rt/weights/pcr-tiny.md"
    assert turned(card, "reference/precision.md") == "models/pcr-tiny.md"
    scores = "../../docs/explanation/scores.md"
    assert turned(scores, "reference/models/pcr-tiny.md") == "../../explanation/scores.md"
    example = "../../examples/own_boxes.py"
    assert turned(example, "tutorials/a.md") == f"{address}/blob/main/examples/own_boxes.py"
    code = "```\n[x](../nothing)\n```\n"
    assert site.site_links(code, "how-to/gpu.md", address) == code
    with pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        turned("../../nothing.py", "how-to/gpu.md")


def test_the_command_line_has_every_verb_and_option(site: ModuleType) -> None:
    page = site.command_line()
    source = (ROOT / "pcr_rt" / "cli" / "__init__.py").read_text()
    verbs = re.findall(r"^from pcr_rt\.cli\.(\w+) import \1$", source, re.MULTILINE)
    assert len(verbs) > 9
    for verb in verbs:
        assert f"## `pcr-rt {verb.replace('evaluate', 'eval')}`" in page
    assert "--score-threshold" in page
    outside_of_code = re.sub(r"`[^`]*`", "", page)
    assert not re.search(r"<[a-z]", outside_of_code)  # would be taken for HTML


def test_json_lines_follow_their_schema() -> None:
    schema = json.loads((ROOT / "docs" / "reference" / "poses.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator({**schema, "additionalProperties": False})
    rng = np.random.default_rng(0)
    found = Poses(
        keypoints=rng.uniform(0, 99, (2, 17, 2)),
        keypoint_scores=rng.uniform(0, 1, (2, 17)),
        boxes=rng.uniform(0, 99, (2, 4)),
        scores=rng.uniform(0, 1, 2),
        ids=np.array([3, 1]),
        image_size=(640, 480),
        source=0,
        frame_index=7,
        timestamp=0.25,
        age_ms=12.3,
        score_kind="probability",
    )
    for poses in (found, Poses.empty()):
        validator.validate(json.loads(poses.to_json()))
    table = found.to_dict()
    for wrong in (
        {**table, "format": "pcr-rt.poses/2"},
        {**table, "scores": "height"},
        {**table, "image_size": [640]},
        {**table, "people": [{**table["people"][0], "score": 1.5}]},
        {**table, "people": [{**table["people"][0], "keypoints": [[1, 2]]}]},
        {key: value for key, value in table.items() if key != "people"},
    ):
        assert not validator.is_valid(wrong)


def test_the_citation_is_of_this_version() -> None:
    versions = [
        re.findall(r'^version(?:: | = )"?([^"\n]+)', (ROOT / name).read_text(), re.MULTILINE)
        for name in ("CITATION.cff", "pyproject.toml")
    ]
    assert versions[0] == versions[1] != []
