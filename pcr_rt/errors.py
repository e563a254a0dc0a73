"""What PCR-RT raises when something that came from outside is wrong.

Each message is one sentence: what is wrong, and what to do.
"""

from __future__ import annotations

__all__ = ["DataError", "InputError", "MissingDependencyError", "ModelError", "PoseError"]


class PoseError(Exception):
    """The base of all errors that a caller can cause and mend."""


class InputError(PoseError, ValueError):
    """A frame, a box, an image, a video or an option is not usable."""


class ModelError(PoseError):
    """A model file is missing, broken or contradicts what it says of itself."""


class DataError(PoseError):
    """Annotations, a recipe or a checkpoint cannot be used."""


class MissingDependencyError(PoseError):
    """An optional package is needed; the message names the command that installs it."""
