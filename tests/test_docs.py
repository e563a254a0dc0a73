"""The links of the documentation: every page, file and heading that is named is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in links(ROOT / page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
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
