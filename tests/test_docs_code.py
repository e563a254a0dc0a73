"""Every code block of the README and the tutorials runs, unless a comment before it says why not.

``<!-- no-run: the reason -->`` stands before a block that is left out. A page's blocks run in order
in one folder, which has a sample image and a short clip; each block of Python is a program.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pcr_rt.annotate import SAMPLE_CLIP
from pcr_rt.media import VideoReader, VideoWriter

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(f"docs/tutorials/{p.name}" for p in (ROOT / "docs/tutorials").glob("*.md"))]
RUN = {"python": [sys.executable, "-c"], "bash": ["bash", "-euo", "pipefail", "-c"]}
READ = {"json", "text", "yaml"}
"""Languages of blocks that show an output or a file."""
_BLOCK = re.compile(
    r"^(?:<!-- no-run: (?P<reason>[^>]*?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    reason: str | None


def blocks(text: str) -> list[Block]:
    """Find the fenced blocks of a page in order."""
    found = [Block(m["language"], m["code"], m["reason"]) for m in _BLOCK.finditer(text)]
    assert 2 * len(found) == len(re.findall(r"^```", text, re.MULTILINE)), "a fence is not closed"
    return found


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    shutil.copy(SAMPLE_CLIP.with_name("street.jpg"), folder / "people.jpg")
    clip = folder / "video.mp4"
    with VideoReader(SAMPLE_CLIP) as video, VideoWriter(clip, video.size, video.fps) as writer:
        for (frame, _), _ in zip(video, range(6), strict=False):
            writer.write(frame)
    return folder


def test_blocks_are_found_with_their_reasons() -> None:
    page = "a\n```bash\nls\n```\n<!-- no-run: a camera -->\n```python\n1/0\n```\n```text\nx\n```\n"
    assert blocks(page) == [
        Block("bash", "ls\n", None),
        Block("python", "1/0\n", "a camera"),
        Block("text", "x\n", None),
    ]
    with pytest.raises(AssertionError, match="not closed"):
        blocks("```bash\nls\n")


@pytest.mark.parametrize("page", PAGES)
def test_each_block_is_code_that_runs_or_says_why_not(page: str) -> None:
    for block in blocks((ROOT / page).read_text()):
        assert block.language in RUN or block.language in READ or block.reason, block
        assert block.reason is None or len(block.reason) > 5, block


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page: str, samples: Path, tmp_path: Path) -> None:
    shutil.copytree(samples, tmp_path, dirs_exist_ok=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "EXAMPLES": str(ROOT / "examples"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for block in blocks((ROOT / page).read_text()):
        if block.language in RUN and not block.reason:
            command = [*RUN[block.language], block.code]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{block.code}\n{done.stdout}\n{done.stderr}"
