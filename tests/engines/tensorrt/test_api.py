"""Which TensorRT is taken, and what it says."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pcr_rt.engines.tensorrt import api
from pcr_rt.engines.tensorrt.api import Journal, load
from pcr_rt.errors import InputError, MissingDependencyError


def module(version: str, **more: Any) -> Any:
    return SimpleNamespace(__version__=version, ILogger=object, **more)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what ``import tensorrt`` and ``import tensorrt_rtx`` give."""
    api._warn_untested.cache_clear()

    def install(tensorrt: Any, rtx: Any = None) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)

    return install


def test_tensorrt_comes_before_rtx(modules: Any) -> None:
    modules(module("10.3.0"), module("1.7.1.116"))
    assert (load().product, load().version) == ("TensorRT", "10.3.0")
    assert load("TensorRT-RTX").version == "1.7.1.116"
    modules(None, module("1.7.1.116"))
    assert load().is_rtx
    with pytest.raises(MissingDependencyError, match="TensorRT cannot be used"):
        load("TensorRT")


@pytest.mark.parametrize("version", ["8.5.3.1", "8.4", "7.2"])
def test_too_old(modules: Any, version: str) -> None:
    modules(module(version))
    with pytest.raises(MissingDependencyError, match=f"TensorRT {version} is too old, 8.6"):
        load()


def test_a_folder_of_that_name_is_no_tensorrt(modules: Any) -> None:
    modules(SimpleNamespace())
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[cuda13\]'"):
        load()


def test_newer_than_tested_is_said_once(modules: Any, caplog: pytest.LogCaptureFixture) -> None:
    modules(module("11.4.9"))
    load()
    assert not caplog.records
    modules(module("11.5.0"))
    assert [load().version for _ in range(2)] == ["11.5.0"] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "TensorRT 11.5.0 is newer than 11.4, the newest tested version."
    ]


def test_rtx_has_kernels_for_some_gpus_only(modules: Any) -> None:
    modules(None, module("1.7.1", ComputeCapability=SimpleNamespace(SM86=1, SM120=2)))
    for sm in ("8.6", "12.0"):
        load().check_capability(sm)
    with pytest.raises(InputError, match=r"no kernels for compute capability 9\.0"):
        load().check_capability("9.0")
    modules(module("10.3.0"))
    load().check_capability("9.0")


def test_journal_keeps_errors_and_passes_lines_on(caplog: pytest.LogCaptureFixture) -> None:
    journal, heard = Journal(), []
    journal.listener = heard.append
    assert journal.last_error() == "no reason given"
    with caplog.at_level(logging.DEBUG, "pcr_rt"):
        for severity, line in (
            ("INTERNAL_ERROR", "first"),
            ("ERROR", "second\n  line"),
            ("WARNING", "careful"),
            ("INFO", "phase"),
            ("VERBOSE", "tactic"),
        ):
            journal.write(severity, line)
    assert journal.last_error() == "second line"
    assert heard == ["phase"]
    levels = {record.getMessage(): record.levelname for record in caplog.records}
    assert levels["careful"] == "INFO"
    assert levels["phase"] == "DEBUG"
    assert "tactic" not in levels
    journal.forget()
    assert journal.last_error() == "no reason given"
