"""Checks of files that will be written, before there is work to lose."""

from __future__ import annotations

from pathlib import Path

from pcr_rt.errors import DataError, InputError

__all__ = ["check_json_output", "refuse_inputs"]


def refuse_inputs(output: Path, *inputs: Path) -> None:
    """InputError where writing ``output`` would destroy one of the inputs."""
    for given in inputs:
        try:
            same = output.samefile(given)
        except OSError:  # one of them does not exist
            continue
        if same:
            raise InputError(f"{output} is read and would be overwritten: name another output.")


def check_json_output(output: Path) -> None:
    """DataError unless a .json file can be written there."""
    if output.is_dir() or not output.parent.is_dir() or output.suffix != ".json":
        raise DataError(f"{output} cannot be written: name a .json file in a folder that exists.")
