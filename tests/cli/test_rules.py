"""What holds for every verb; Ctrl-C in a process of its own, as a terminal sends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

import pcr_rt
from pcr_rt.cli import app
from pcr_rt.cli.rules import stops_properly
from toys import save

FRAME = np.full((40, 30, 3), 90, np.uint8)

# Its own handler only notes the signal, as in a training step, and goes on until it is told.
BUSY = """
import signal, sys, time
from pcr_rt.cli.rules import stops_properly
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
@stops_properly
def verb():
    heard = []
    if {deaf}:
        signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    print("ready", flush=True)
    if {deaf}:
        while not heard: time.sleep(0.01)
        sys.stdin.readline()
        raise KeyboardInterrupt("3 files are finished")
    time.sleep(60)
verb()
"""


def start(deaf: bool) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY.format(deaf=deaf)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    return process


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_is_answered_before_the_work_under_way_is_finished() -> None:
    process = start(deaf=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "\n"
    assert process.stderr.readline() == "stopping: what is under way is finished first\n"
    assert process.poll() is None
    _, said = process.communicate("go on\n", timeout=60)
    assert said == "stopped by Ctrl-C: 3 files are finished\n"
    assert process.returncode == 130


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_ends_a_verb_that_has_nothing_to_say() -> None:
    process = start(deaf=False)
    _, said = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "stopped by Ctrl-C"
    assert said.count("stopping") == 1
    assert process.returncode == 130


def test_a_verb_that_ends_by_itself_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)

    @stops_properly
    def verb(number: int) -> int:
        return number + 1

    assert [verb(1), verb(2)] == [2, 3]
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_ctrl_c_keeps_the_images_that_are_finished(
    cli: Any, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the second one is written: that is finished too, the third is not begun."""
    from pcr_rt import annotate

    written: list[Path] = []
    write = annotate.write_image

    def write_image(path: Path, image: Any) -> None:
        if written:
            signal.raise_signal(signal.SIGINT)
        write(path, image)
        written.append(path)

    monkeypatch.setattr(annotate, "write_image", write_image)
    images = [tmp_path / f"{name}.png" for name in "abc"]
    for path in images:
        save(path, FRAME)
    options = ("-m", toy, "--detector", "none", "-o", tmp_path / "out", "--json")
    answer = cli("run", *images, *options)
    assert answer.code == 130
    assert answer.err.splitlines()[-1] == "stopped by Ctrl-C: the files are finished"
    assert answer.json["frames"] == 2
    lines = (tmp_path / "out" / "poses.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["a.png", "b.png"]
    assert [path.name for path in written] == ["a-poses.png", "b-poses.png"]


def test_help_and_version_are_where_people_look_for_them() -> None:
    runner = CliRunner()
    for arguments in (["-h"], ["run", "-h"], ["--help"]):
        answer = runner.invoke(app, arguments)
        assert answer.exit_code == 0
        assert "Usage" in answer.output
    assert runner.invoke(app, ["--version"]).output == f"pcr-rt {pcr_rt.__version__}\n"
    assert "--install-completion" in runner.invoke(app, ["-h"]).output


@pytest.mark.parametrize("verb", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_flags_name_no_type_in_the_help(verb: str) -> None:
    answer = CliRunner().invoke(app, [verb, "-h"], env={"COLUMNS": "200"})
    assert answer.exit_code == 0
    assert "bool" not in answer.output.lower()


def test_the_package_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pcr_rt", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"pcr-rt {pcr_rt.__version__}\n"
