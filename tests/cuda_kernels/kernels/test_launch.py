from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from pcr_rt.cuda_kernels.kernels import launch


def test_a_constant_is_made_before_a_capture_or_not_at_all(emulated_device: Any) -> None:
    stream = emulated_device.cuda.Stream()
    with stream:
        known = launch.constant(np.arange(3))
        stream.begin_capture()
        try:
            assert launch.constant(np.arange(3)) is known
            with pytest.raises(RuntimeError, match="before the capture"):
                launch.constant(np.arange(4))
        finally:
            stream.end_capture()
        np.testing.assert_array_equal(launch.constant(np.arange(4)).get(), np.arange(4))


def test_each_thread_has_constants_of_its_own(emulated_device: Any) -> None:
    """With per-thread default streams one number stands for several streams."""
    here = [launch.constant(np.arange(3)) for _ in range(2)]
    there: list[Any] = []
    thread = threading.Thread(target=lambda: there.append(launch.constant(np.arange(3))))
    thread.start()
    thread.join()
    assert here[0] is here[1]
    assert there[0] is not here[0]
