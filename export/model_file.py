"""Write ONNX models as files that are whole or not there; torch is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxsim

from pcr_rt.errors import ModelError
from pcr_rt.export.metadata import embed
from pcr_rt.files import make_folder, write_whole
from pcr_rt.models import ModelSpec

__all__ = ["place", "write_as_it_is", "write_model"]


def write_model(model: Any, spec: ModelSpec, path: Path) -> None:
    """Simplify ``model``, embed ``spec`` and write it; the file is whole or not there."""
    simplified, valid = onnxsim.simplify(model)
    if not valid:
        raise ModelError(f"The simplified {spec.name!r} does not compute what the original does.")
    write_as_it_is(simplified, spec, path)


def write_as_it_is(model: Any, spec: ModelSpec, path: Path) -> None:
    """Embed ``spec`` in ``model`` and write it; the file is whole or not there."""
    model.doc_string = ""
    content = embed(model, spec)
    onnx.checker.check_model(model)
    place(content, path)


def place(content: bytes, path: Path) -> None:
    """Write a file that is whole or not there, in a folder that is made if need be.

    Raises InputError if it cannot be written.
    """
    make_folder(path.parent)
    write_whole(path, content)
