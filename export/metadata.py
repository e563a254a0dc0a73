"""The ModelSpec inside an ONNX file; nothing else of the file changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from pcr_rt.errors import ModelError
from pcr_rt.files import make_folder, refuse_inputs, write_whole
from pcr_rt.models import METADATA_KEY, ModelSpec

__all__ = ["embed", "rewrite_spec"]


def embed(model: Any, spec: ModelSpec) -> bytes:
    """Put ``spec`` into an ONNX model and give the file's content, the same for equal models."""
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
    return bytes(model.SerializeToString(deterministic=True))


def rewrite_spec(source: Path, spec: ModelSpec, output: Path) -> None:
    """Write ``output``, the model file ``source`` with ``spec`` in place of its own.

    Raises ModelError for a file that cannot be read, InputError if ``output`` is ``source`` or
    cannot be written.
    """
    refuse_inputs(output, source)
    try:
        model = onnx.load(source)
    except Exception as error:  # of protobuf, of the operating system
        raise ModelError(f"The model file {source} cannot be read: {error}") from None
    make_folder(output.parent)
    write_whole(output, embed(model, spec))
