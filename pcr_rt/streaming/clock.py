"""How long each stage of a stream takes."""

from __future__ import annotations

import threading
from collections.abc import Mapping

__all__ = ["StageClock"]


class StageClock:
    """Milliseconds of each stage, summed over all threads."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, stage: str, milliseconds: float) -> None:
        """Add to one stage."""
        self.add_all({stage: milliseconds})

    def add_all(self, stages: Mapping[str, float]) -> None:
        """Add to several stages."""
        with self._lock:
            for stage, milliseconds in stages.items():
                self._totals[stage] = self._totals.get(stage, 0.0) + milliseconds

    def totals(self) -> dict[str, float]:
        """Milliseconds so far, by stage."""
        with self._lock:
            return dict(self._totals)
