"""What `PoseEstimator` refuses before it opens a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pcr_rt.engines import Engine
from pcr_rt.errors import InputError

__all__ = ["check_options", "models_of"]

CHOICES = {
    "nms": ("hard", "soft", None),
    "decode": ("none", "quarter", "dark", None),
    "precision": ("auto", "fp32", "fp16", "int8"),
}


def models_of(model: Any) -> Sequence[str | Path | Engine]:
    """The models of the option ``model``, which is one or a list of them.

    Raises InputError for an empty list and for what is no model.
    """
    models = model if isinstance(model, (list, tuple)) else [model]
    if not models:
        raise InputError("model is an empty list: name at least one model.")
    for one in models:
        if not isinstance(one, (str, Path, Engine)):
            raise InputError(f"model is {one!r}; give a shipped name, a path or an engine.")
    return models


def check_options(
    *,
    detector: Any,
    device: Any,
    max_people: Any,
    score_threshold: Any,
    oks_threshold: Any,
    **chosen: Any,
) -> None:
    """InputError for a value that makes no sense; chosen: those of `CHOICES`."""
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            allowed = ", ".join(map(repr, CHOICES[name]))
            raise InputError(f"{name} is {value!r}; use one of {allowed}.")
    if not isinstance(device, str):
        raise InputError(f"device is {device!r}; give 'auto', 'cpu', 'cuda' or such as 'cuda:1'.")
    if not (detector is None or isinstance(detector, (str, Path)) or callable(detector)):
        raise InputError(f"detector is {detector!r}; give a name, a path, a callable or None.")
    if max_people is not None and not (isinstance(max_people, Integral) and int(max_people) > 0):
        raise InputError(f"max_people is {max_people!r}; give a positive whole number or None.")
    for name, value in {"score_threshold": score_threshold, "oks_threshold": oks_threshold}.items():
        if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
            raise InputError(f"{name} is {value!r}; give a number from 0 on.")
    if chosen["nms"] == "soft" and not oks_threshold:
        raise InputError("oks_threshold is 0; soft NMS needs a positive number.")
