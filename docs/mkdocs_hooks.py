"""What MkDocs asks of us when it builds the site (``make docs``).

The page of the command line is written from typer's tree. The model cards, the changelog and the
guide for contributors lie elsewhere in the repository and become pages. Links to any other file of
it lead to the repository's address, `repo_url` in mkdocs.yml.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parents[1]
FROM_ELSEWHERE = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    **{
        f"reference/models/{card.name}": f"pcr_rt/weights/{card.name}"
        for card in sorted((ROOT / "pcr_rt" / "weights").glob("*.md"))
    },
}
"""Of each page that lies outside of docs/ its file in the repository."""
COMMAND_LINE = "reference/command_line.md"
GENERATED = (*FROM_ELSEWHERE, COMMAND_LINE)

_LINK = re.compile(r"(\]\()([^)\s]+)\)")
_OPTION = re.compile(r"^(\* `[^`]*`)(.*)$", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in docs/."""
    from mkdocs.structure.files import File

    for page, path in FROM_ELSEWHERE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, COMMAND_LINE, content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Turn links between files of the repository into links of the site."""
    return site_links(markdown, page.file.src_uri, config["repo_url"])


def command_line() -> str:
    """Write the page of all verbs and options, from typer's tree."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from pcr_rt.cli import app

    group: Any = get_command(app)
    context = group.context_class(group, info_name="pcr-rt")
    text = str(get_docs_for_click(obj=group, ctx=context, name="pcr-rt"))
    for verb, command in group.commands.items():  # typer shortens what each one does
        line = f"* [`{verb}`](#pcr-rt-{verb}): {command.help.strip().splitlines()[0]}"
        text = re.sub(rf"^\* `{verb}`: .*$", line, text, flags=re.MULTILINE)
    # What a help text has in angle brackets would be taken for HTML.
    text = _OPTION.sub(lambda line: line[1] + line[2].replace("<", "&lt;"), text)
    return text.replace("# `pcr-rt`", "# The command line", 1)


def site_links(markdown: str, page: str, repository: str) -> str:
    """Turn a page's links to files of the repository into links to pages, or to its address.

    page: its path in the site. Raises FileNotFoundError for a link to nothing.
    """
    source = FROM_ELSEWHERE.get(page, f"docs/{page}")
    pages = {path: name for name, path in FROM_ELSEWHERE.items()}

    def turn(link: re.Match[str]) -> str:
        path, mark, anchor = link[2].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        target = os.path.normpath(os.path.join(os.path.dirname(source), path))
        name = pages.get(target) or target.removeprefix("docs/")
        if target in pages or target.startswith("docs/"):
            return f"{link[1]}{os.path.relpath(name, os.path.dirname(page) or '.')}{mark}{anchor})"
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{source} links to {target}, which does not exist")
        return f"{link[1]}{urljoin(f'{repository}/', f'blob/main/{target}')}{mark}{anchor})"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else _LINK.sub(turn, part) for i, part in enumerate(parts))
