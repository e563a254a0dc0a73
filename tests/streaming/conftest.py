"""What the tests of streams share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail a test that leaves threads of its own; an earlier test's estimator may have some too."""
    before = set(threading.enumerate())
    yield
    started = set(threading.enumerate()) - before
    assert [t.name for t in started if t.name.startswith("pcr-rt")] == []
