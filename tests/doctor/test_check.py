from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pcr_rt.doctor.check import find_module, one_line


def test_a_module_is_found_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "explosive.py").write_text("raise RuntimeError('imported')")
    assert not find_module("explosive")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_module("explosive")
    assert "explosive" not in sys.modules


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\n  second"), "first second"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (KeyError(), "KeyError"),
    ],
)
def test_an_error_on_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line
