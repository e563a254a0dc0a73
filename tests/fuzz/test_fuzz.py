"""20,000 damaged files: each is a result or one sentence, in bounded time and memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from mutations import mutate_bytes, mutate_json, mutate_lines, mutate_toml

FUZZING = Path(__file__).parents[1] / "support" / "fuzzing.py"
TARGETS = 15


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_damaged_files_are_a_result_or_one_sentence() -> None:
    """In a process of its own, so that a crash inside a library is seen too."""
    command = [sys.executable, str(FUZZING), "--cases", "20000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, errors="replace")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    table = [line for line in done.stdout.splitlines() if line[-1:].isdigit() and "." in line]
    assert len(table) == TARGETS
    # A target whose damage is always refused, or never, would test nothing.
    for line in table:
        assert "HTTP" in line or all(int(number) > 0 for number in line[22:].split()[:3]), line


def test_every_case_can_be_made_again() -> None:
    seed = json.dumps({"a": [1, {"b": "c"}], "d": 2.5}).encode()
    for mutate, data in (
        (mutate_json, seed),
        (mutate_bytes, seed),
        (mutate_lines, seed + b"\n" + seed),
        (mutate_toml, b"[a]\nb = 1\nc = 'd'\n"),
    ):
        first, again, other = (
            [mutate(random.Random(f"{start} {k}"), data) for k in range(50)] for start in (0, 0, 1)
        )
        assert first == again
        assert first != other
        assert sum(case != data for case in first) > 40
