from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcr_rt.errors import DataError
from pcr_rt.labelling.journal import Journal


@pytest.mark.parametrize("content", ['{"mine": 1}', "not json\nlast line", "text\n"])
def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(DataError, match="no journal"):
        Journal(tmp_path / "a.jsonl", {"options": 1})
    assert (tmp_path / "a.jsonl").read_text() == content


def test_a_place_that_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        Journal(tmp_path, {})


def test_a_header_that_a_kill_cut_short_is_written_anew(tmp_path: Path) -> None:
    for length in (0, 3, len('{"options": 1}')):
        (tmp_path / "a.jsonl").write_text('{"options": 1}'[:length])
        with Journal(tmp_path / "a.jsonl", {"options": 1}) as journal:
            assert journal.entries == []
        assert (tmp_path / "a.jsonl").read_text() == '{"options": 1}\n'


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path, {"options": 1}) as journal:
        with pytest.raises(DataError, match="Another process"):
            Journal(path, {"options": 1})
        journal.append({"done": 1})
    with Journal(path, {"options": 1}) as journal:
        assert journal.entries == [{"done": 1}]


FULL_DISK = """
import resource, sys
from pathlib import Path
from pcr_rt.errors import DataError
from pcr_rt.labelling.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with Journal(Path(sys.argv[1]), {}) as journal:
        while True:
            journal.append({"text": "x" * 90})
except DataError as error:
    print(len(journal.entries), error)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    count, _, message = done.stdout.partition(" ")
    assert "make room" in message
    with Journal(tmp_path / "a.jsonl", {}) as journal:
        assert len(journal.entries) == int(count) > 3
