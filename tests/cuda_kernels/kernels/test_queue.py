from __future__ import annotations

from typing import Any

import numpy as np

from pcr_rt.cuda_kernels import kernels


def test_an_array_interface_is_read_once_a_frame(emulated_device: Any) -> None:
    """PyCUDA makes a dictionary at each reading."""

    class Counting:
        memory = np.zeros((4, 5, 3), np.uint8)
        readings = 0

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            self.readings += 1
            return {**self.memory.__array_interface__, "version": 3, "stream": None}

    array = Counting()
    taken = kernels.taken(array, emulated_device.cuda.Stream(non_blocking=True))
    assert array.readings == 1
    assert taken.data.ptr == array.memory.ctypes.data
